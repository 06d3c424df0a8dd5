"""The rules of a fresh installation do what their cases say, and the cases notice when they do not."""

from pathlib import Path

import msgspec
import pytest

from gateway.policy.cases import Case, read_cases, run_cases
from gateway.policy.compiled import compile_policy
from gateway.policy.rules import Grant, PolicyRules, read_rules
from gateway.policy.source import PolicyError
from gateway.policy.stock import stock_enforcer

FOLDER = Path(__file__).parents[2] / "policies"
HEADER = "subject,domain,object,action,expected,why\n"


def test_every_case_holds_for_the_seed_rules() -> None:
    """What the demo and a fresh installation may and may not do is as `cases.csv` has it, and it has 25 or
    more."""
    cases = read_cases(FOLDER / "cases.csv")
    assert len(cases) >= 25
    assert run_cases(compile_policy(read_rules(FOLDER / "rules.csv")), cases) == []


def test_stock_casbin_agrees_with_every_case() -> None:
    """The same cases hold for stock Casbin with the same rules and `model.conf`."""
    enforcer = stock_enforcer(read_rules(FOLDER / "rules.csv"), FOLDER / "model.conf")
    for case in read_cases(FOLDER / "cases.csv"):
        allowed = enforcer.enforce(case.subject, case.domain, case.object, case.action)
        assert allowed is (case.expected == "allow"), case


def test_every_seed_row_is_held_by_a_case() -> None:
    """Taking any one row out of the seed rules makes a case fail: no row is there for nothing, or
    unwatched."""
    rules = read_rules(FOLDER / "rules.csv")
    cases = read_cases(FOLDER / "cases.csv")
    for at, grant in enumerate(rules.grants):
        less = msgspec.structs.replace(rules, grants=rules.grants[:at] + rules.grants[at + 1 :])
        assert run_cases(compile_policy(less), cases), grant
    for at, assignment in enumerate(rules.roles):
        less = msgspec.structs.replace(rules, roles=rules.roles[:at] + rules.roles[at + 1 :])
        assert run_cases(compile_policy(less), cases), assignment


def test_a_case_that_fails_says_why_the_policy_decided_otherwise() -> None:
    """The failure carries the case with its line, the decision and its explanation."""
    (case,) = read_cases(HEADER + "user:a,vision,digits,flip,deny,a freeze\n")
    (failure,) = run_cases(compile_policy(PolicyRules((Grant("user:a", "*", "*", "*"),))), [case])
    assert failure.case == Case("user:a", "vision", "digits", "flip", "deny", "a freeze", line=2)
    assert failure.got == "allow"
    assert failure.explanation.startswith("user:a may flip digits in vision: p row 1")


def test_all_problems_of_a_case_file_are_reported_with_their_lines() -> None:
    """A wrong expectation, a missing reason and a wrong number of fields are named together."""
    with pytest.raises(PolicyError) as caught:
        read_cases(HEADER + "# c\nu,d,o,a,Allow,why\nu,d,o,a,deny,\nu,d,o,a\n")
    assert caught.value.problems == [
        "line 3: expected is 'Allow'; it must be allow or deny",
        "line 4: a case says why it must hold",
        "line 5: 4 fields where a case has 6",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "there are no cases"),
        (HEADER, "there are no cases"),
        ("a,b\n", "line 1: the first line must be subject,domain,object,action,expected,why"),
        (HEADER + 'u,d,o,a,deny,"never closed\n', "line 2: unexpected end of data"),
    ],
)
def test_a_file_without_cases_is_refused(text: str, problem: str) -> None:
    """A table that checks nothing would hold for every policy, so it is not accepted as one."""
    with pytest.raises(PolicyError) as caught:
        read_cases(text)
    assert caught.value.problems == [problem]
