"""The promises of the compiled policy that stock Casbin does not make: speed, bounds, failing closed,
words."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings

from gateway.policy import compiled as compiled_module
from gateway.policy.compiled import CompiledPolicy, compile_policy
from gateway.policy.rules import Grant, PolicyRules, RoleAssignment
from tests.policy.strategies import policies, requests

GATEWAY = Path(__file__).parents[2] / "gateway"


def many_rows(count: int) -> PolicyRules:
    """`count` role rows and `count` grants over `count` people, each with a role of their own in one of 50
    teams."""
    return PolicyRules(
        tuple(Grant(f"role:r{n}", f"team{n % 50}", f"alias{n}", "infer") for n in range(count)),
        tuple(RoleAssignment(f"user:u{n}", f"role:r{n}", f"team{n % 50}") for n in range(count)),
    )


def lines_run(action: Callable[[], object]) -> int:
    """How many lines of Python `action` runs: work that does not depend on the machine."""
    lines = 0

    def trace(_frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return lines


def test_the_work_of_a_decision_does_not_grow_with_the_policy() -> None:
    """A first decision looks at the subject's own roles and eight keys, among 10 000 rows as among 100."""
    request = ("user:u7", "team7", "alias7", "infer")
    small, large = compile_policy(many_rows(100)), compile_policy(many_rows(10_000))
    first = [lines_run(lambda policy=policy: policy.decide(*request)) for policy in (small, large)]  # type: ignore[misc]
    again = [lines_run(lambda policy=policy: policy.decide(*request)) for policy in (small, large)]  # type: ignore[misc]
    assert small.decide(*request)
    assert large.decide(*request)
    assert first[0] == first[1] < 150
    assert again[0] == again[1] < 10


def test_what_ten_thousand_share_is_not_walked_for_each() -> None:
    """Somebody with a role that gives 5 000 others costs a few lines, because those sets are shared, not
    merged."""
    hub = [RoleAssignment("role:hub", f"role:r{n}", "*") for n in range(5_000)]
    people = [RoleAssignment(f"user:u{n}", "role:hub", "vision") for n in range(5_000)]
    policy = compile_policy(PolicyRules((Grant("role:r4999", "vision", "digits", "infer"),), (*hub, *people)))
    assert lines_run(lambda: policy.decide("user:u1", "vision", "digits", "infer")) < 150
    assert policy.decide("user:u2", "vision", "digits", "infer") is True


def test_memory_stays_bounded_whatever_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many subjects and objects are asked about, what is remembered stays under its cap and stays
    right."""
    monkeypatch.setattr(compiled_module, "REMEMBERED_DECISIONS", 100)
    monkeypatch.setattr(compiled_module, "REMEMBERED_SUBJECTS", 50)
    policy = compile_policy(PolicyRules((Grant("user:u3", "*", "*", "infer"),)))
    for n in range(1_000):
        assert policy.decide(f"user:u{n}", "vision", f"alias{n}", "infer") is (n == 3)
        assert len(policy._decisions) <= 100
        assert len(policy._reaches) <= 50
    assert policy.decide("user:u3", "vision", "alias3", "infer") is True


class Broken(dict[Any, Any]):
    """A look-up that fails, as a bug or a lack of memory would make it fail."""

    def get(self, key: Any, default: Any = None) -> Any:
        raise MemoryError(key)


@pytest.mark.parametrize("part", ["_index", "_reaches", "_decisions"])
def test_a_fault_in_a_decision_is_never_an_allow(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks inside, the caller gets an exception, and once it is mended the answer is the true
    one."""
    policy = compile_policy(
        PolicyRules((Grant("user:a", "*", "*", "*"), Grant("user:a", "vision", "digits", "flip", "deny")))
    )
    with monkeypatch.context() as broken:
        broken.setattr(policy, part, Broken())
        with pytest.raises(MemoryError):
            policy.decide("user:a", "vision", "digits", "flip")
    assert policy.decide("user:a", "vision", "digits", "flip") is False


def test_a_fault_between_an_allow_and_a_deny_is_not_an_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    """An allow that was found counts for nothing until every place where a deny could stand has been seen."""
    policy = compile_policy(
        PolicyRules((Grant("user:a", "vision", "digits", "flip"), Grant("user:a", "*", "*", "*", "deny")))
    )

    class FailsLate(dict[Any, Any]):
        def get(self, key: Any, default: Any = None) -> Any:
            if key == ("*", "*", "*"):
                raise MemoryError(key)
            return super().get(key, default)

    with monkeypatch.context() as broken:
        broken.setattr(policy, "_index", FailsLate(policy._index))
        with pytest.raises(MemoryError):
            policy.decide("user:a", "vision", "digits", "flip")
    assert policy.decide("user:a", "vision", "digits", "flip") is False


def test_rules_that_nobody_validated_open_nothing_by_an_odd_effect() -> None:
    """Should an effect such as `Allow` ever get past validation, it denies."""
    policy = CompiledPolicy(PolicyRules((Grant("user:a", "*", "*", "*", "Allow"),)))
    assert policy.decide("user:a", "vision", "digits", "infer") is False


def test_a_deny_by_role_holds_while_policies_are_replaced_in_a_tight_loop() -> None:
    """Replacing the policy by a new one, as often as can be, never shows a moment in which a role's deny is
    gone."""
    rules = PolicyRules(
        (Grant("user:a", "*", "*", "*"), Grant("role:banned", "vision", "*", "*", "deny")),
        (RoleAssignment("user:a", "role:banned", "vision"),),
    )
    current = [compile_policy(rules)]
    stop = threading.Event()

    def replace() -> None:
        while not stop.is_set():
            current[0] = compile_policy(rules)

    replacing = threading.Thread(target=replace)
    replacing.start()
    try:
        seen = {id(current[0])}
        decisions = 0
        while decisions < 20_000 or len(seen) < 2:
            seen.add(id(current[0]))
            assert current[0].decide("user:a", "vision", "digits", "infer") is False
            decisions += 1
    finally:
        stop.set()
        replacing.join()


@pytest.mark.parametrize("position", range(4))
def test_a_request_with_an_empty_part_is_denied(position: int) -> None:
    """Not even a right to everything covers a request that says nothing in one of its parts."""
    policy = compile_policy(PolicyRules((Grant("user:a", "*", "*", "*"),)))
    request = ["user:a", "vision", "digits", "infer"]
    subject, domain, obj, action = request
    assert policy.decide(subject, domain, obj, action) is True
    request[position] = ""
    subject, domain, obj, action = request
    assert policy.decide(subject, domain, obj, action) is False
    assert policy.explain(subject, domain, obj, action).allowed is False


def test_teams_are_the_domains_that_name_the_subject_or_its_roles() -> None:
    """Direct rows, roles, inherited roles and rows for a role everywhere count; `*` and denies make nobody a
    member."""
    policy = compile_policy(
        PolicyRules(
            (
                Grant("user:a", "audio", "*", "infer"),
                Grant("user:a", "secret", "*", "infer", "deny"),
                Grant("role:everywhere", "language", "*", "read"),
                Grant("role:reader", "*", "*", "read"),
                Grant("role:owner", "vision", "*", "flip"),
                Grant("role:owner", "text", "*", "flip"),
            ),
            (
                RoleAssignment("user:a", "role:everywhere", "*"),
                RoleAssignment("role:everywhere", "role:reader", "*"),
                RoleAssignment("role:reader", "role:guest", "maps"),
                RoleAssignment("user:a", "role:owner", "vision"),
                RoleAssignment("user:b", "role:reader", "*"),
            ),
        )
    )
    assert policy.teams_of("user:a") == {"audio", "language", "maps", "vision"}
    assert policy.teams_of("user:b") == {"maps"}
    assert policy.teams_of("user:c") == frozenset()
    assert policy.roles_of("user:a", "maps") == {"role:everywhere", "role:reader", "role:guest"}


@settings(max_examples=150, deadline=None)
@given(policies, requests)
def test_an_explanation_names_rows_that_say_so_and_ways_that_exist(
    rules: PolicyRules, request_: tuple[str, str, str, str]
) -> None:
    """Each deciding row has the effect of the decision, and each step of its path is a role row that
    applies."""
    found = compile_policy(rules).explain(*request_)
    subject, domain, _, _ = request_
    if found.allowed:
        assert found.grants
    given_roles = {(each.subject, each.role) for each in rules.roles if each.domain in ("*", domain)}
    for each in (*found.grants, *found.overruled):
        assert rules.grants[each.row - 1] == each.grant
        assert each.path[0] == subject
        assert each.path[-1] == each.grant.subject
        assert given_roles.issuperset(zip(each.path, each.path[1:], strict=False))
    assert {each.grant.effect for each in found.grants} <= {"allow" if found.allowed else "deny"}
    assert {each.grant.effect for each in found.overruled} <= {"allow"}


def test_an_explanation_reads_as_a_sentence() -> None:
    """A person sees which row decided, by way of which roles, and which rows it overruled."""
    policy = compile_policy(
        PolicyRules(
            (
                Grant("role:owner", "*", "*", "flip"),
                Grant("role:frozen", "vision", "digits", "*", "deny"),
            ),
            (
                RoleAssignment("user:lead", "role:senior", "vision"),
                RoleAssignment("role:senior", "role:owner", "*"),
                RoleAssignment("user:new", "role:owner", "vision"),
                RoleAssignment("user:new", "role:frozen", "vision"),
            ),
        )
    )
    assert policy.explain("user:lead", "vision", "digits", "flip").text == (
        "user:lead may flip digits in vision: p row 1 lets role:owner flip any object in any domain "
        "(user:lead > role:senior > role:owner)."
    )
    assert policy.explain("user:new", "vision", "digits", "flip").text == (
        "user:new may not flip digits in vision: p row 2 forbids role:frozen to do anything to digits in vision "
        "(user:new > role:frozen). A deny wins over every allow, here over p row 1 lets role:owner flip any object "
        "in any domain (user:new > role:owner)."
    )
    assert policy.explain("user:new", "vision", "digits-legacy", "pin").text == (
        "user:new may not pin digits-legacy in vision: no row allows it, neither to user:new nor to its roles there, "
        "role:frozen, role:owner."
    )
    assert policy.explain("app:x", "vision", "digits", "infer").text == (
        "app:x may not infer digits in vision: no row allows it to app:x, which has no role there."
    )


def test_deciding_never_loads_casbin() -> None:
    """A data plane worker compiles and decides without casbin in its memory, and one module alone imports
    it."""
    code = (
        "import sys, gateway.policy, gateway.policy.rules, gateway.policy.compiled, gateway.policy.cases\n"
        "assert 'casbin' not in sys.modules and 'simpleeval' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=GATEWAY.parent)
    importers = [path.name for path in GATEWAY.rglob("*.py") if "import casbin" in path.read_text()]
    assert importers == ["stock.py"]
