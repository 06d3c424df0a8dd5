"""Stock Casbin, which the compiled policy must agree with: the only importer of casbin.

The control plane loads `policies/model.conf` through it, so that a model which the compiler does not
implement is refused instead of ignored; the tests hold the compiled decisions against its enforcer.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import casbin

from gateway.policy.rules import ANY, PolicyRules
from gateway.policy.source import PolicyError, text_of

MODEL = """
[request_definition]
r = sub, dom, obj, act
[policy_definition]
p = sub, dom, obj, act, eft
[role_definition]
g = _, _, _
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = r.sub != "" && r.dom != "" && r.obj != "" && r.act != "" && g(r.sub, p.sub, r.dom) \\
    && (p.dom == "*" || p.dom == r.dom) && (p.obj == "*" || p.obj == r.obj) \\
    && (p.act == "*" || p.act == r.act)
"""
"""What `compiled` implements. The empty parts are named because Casbin, asked with an empty policy, matches
the request against a row of empty strings, and would allow the request whose parts are all empty."""

SECTIONS = {
    "r": "request_definition",
    "p": "policy_definition",
    "g": "role_definition",
    "e": "policy_effect",
    "m": "matchers",
}


def load_model(path_or_text: Path | str) -> casbin.Model:
    """Parses a Casbin model and makes sure that it is the one that the compiler implements, whitespace aside.

    Raises `PolicyError` with every definition that differs, its line where it has one, and what it should be.
    """
    text = text_of(path_or_text)
    model = _parse(text)
    problems = list(_differences(model, _parse(MODEL), text))
    if problems:
        raise PolicyError(problems)
    return model


def stock_enforcer(rules: PolicyRules, model: Path | str = MODEL) -> casbin.Enforcer:
    """A fresh stock enforcer on these rules. Raises `PolicyError` for a model that `load_model` refuses.

    Casbin keeps decisions and rows in one mutable object whose reload has a moment of half-built roles, so
    rules are never loaded into an enforcer that exists.
    """
    enforcer = casbin.Enforcer(load_model(model), _Rows(rules))
    # Without this, Casbin takes the `*` of a g row for the name of a domain.
    enforcer.add_named_domain_matching_func("g", _covers)
    return enforcer


class _Rows(casbin.persist.Adapter):  # type: ignore[misc]
    """Hands the rows to Casbin as they are, past its CSV dialect."""

    def __init__(self, rules: PolicyRules) -> None:
        self._rules = rules

    def load_policy(self, model: casbin.Model) -> None:
        model["p"]["p"].policy += [
            [grant.subject, grant.domain, grant.object, grant.action, grant.effect]
            for grant in self._rules.grants
        ]
        model["g"]["g"].policy += [[each.subject, each.role, each.domain] for each in self._rules.roles]


def _covers(requested: str, domain_of_row: str) -> bool:
    return domain_of_row in (requested, ANY)


def _parse(text: str) -> casbin.Model:
    try:
        return casbin.Enforcer.new_model(text=text)
    except RuntimeError as error:
        raise PolicyError([f"Casbin cannot read the model: {error}"]) from error


def _differences(model: casbin.Model, wanted: casbin.Model, text: str) -> Iterator[str]:
    for section, heading in SECTIONS.items():
        has = {key: each.value for key, each in (model[section] or {}).items()}
        must = {key: each.value for key, each in wanted[section].items()}
        for key in sorted(has.keys() | must.keys()):
            where = f"{_place(text, key)}[{heading}] {key}"
            if key not in has:
                yield f"{where} is missing; it must be: {_shown(must[key])}"
            elif key not in must:
                yield f"{where} has no meaning here; take it out"
            elif _tight(has[key]) != _tight(must[key]):
                yield f"{where} is: {_shown(has[key])}; it must be: {_shown(must[key])}"


def _tight(value: str) -> str:
    """The definition without the whitespace that means nothing: what is left stands between two words or in
    quotes."""
    parts = re.split(r"(\"[^\"]*\"|'[^']*')", value)
    for outside in range(0, len(parts), 2):
        parts[outside] = re.sub(r" ?([^\w ]) ?", r"\1", re.sub(r"\s+", " ", parts[outside])).strip()
    return "".join(parts)


def _shown(value: str) -> str:
    """The definition as people write it: Casbin keeps `r.sub` as `r_sub`."""
    return re.sub(r"\b([rp]\d*)_", r"\1.", " ".join(value.split()))


def _place(text: str, key: str) -> str:
    """Where `key` is defined: the last such line, which is the one that Casbin takes; empty where none is."""
    found = [n for n, line in enumerate(text.split("\n"), start=1) if re.match(rf"\s*{key}\s*=", line)]
    return f"line {found[-1]}: " if found else ""
