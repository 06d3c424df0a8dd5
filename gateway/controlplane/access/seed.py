"""The first rules: read from the policies folder, held against its model and its cases."""

from pathlib import Path

from gateway.controlplane.access.policy import administered
from gateway.policy.cases import read_cases, run_cases
from gateway.policy.compiled import compile_policy
from gateway.policy.rules import PolicyRules, read_rules
from gateway.policy.source import PolicyError
from gateway.policy.stock import load_model


def read_seed(folder: Path, problems: list[str]) -> PolicyRules | None:
    """The rules of `rules.csv`; None, and the faults appended to `problems`, when they cannot be used.

    `model.conf` must be the model that the gateway implements; `cases.csv`, where there is one, must hold.
    """
    found: list[str] = []
    rules = None
    try:
        load_model(folder / "model.conf")
    except PolicyError as error:
        found += _named(folder / "model.conf", error.problems)
    try:
        rules = read_rules(folder / "rules.csv")
    except PolicyError as error:
        found += _named(folder / "rules.csv", error.problems)
    if rules is not None:
        found += _unmet(rules, folder / "cases.csv")
        if not administered(rules):
            found.append(
                f"{folder / 'rules.csv'}: nobody may admin @policy in platform, so nobody could change it"
            )
    problems += found
    return None if found else rules


def _unmet(rules: PolicyRules, cases: Path) -> list[str]:
    if not cases.exists():
        return []
    try:
        failures = run_cases(compile_policy(rules), read_cases(cases))
    except PolicyError as error:
        return _named(cases, error.problems)
    return [
        f"{cases}: line {each.case.line} expects {each.case.expected}: {each.explanation} ({each.case.why})"
        for each in failures
    ]


def _named(path: Path, problems: list[str]) -> list[str]:
    return [f"{path}: {problem}" for problem in problems]
