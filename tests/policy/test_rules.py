"""What rules must be before they may decide anything, and how they are read."""

from pathlib import Path

import casbin
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy import chains
from gateway.policy.compiled import compile_policy
from gateway.policy.rules import (
    Grant,
    PolicyRules,
    RoleAssignment,
    read_rules,
    rules_from_rows,
    validate,
)
from gateway.policy.source import PolicyError
from tests.policy.strategies import policies

FOLDER = Path(__file__).parents[2] / "policies"
SOUND = PolicyRules(
    grants=(
        Grant("role:consumer", "*", "*", "infer"),
        Grant("user:lead", "vision", "digits", "flip"),
        Grant("app:storefront", "platform", "@keys", "read", "deny"),
    ),
    roles=(
        RoleAssignment("app:storefront", "role:consumer", "vision"),
        RoleAssignment("role:owner", "role:consumer", "*"),
    ),
)
MUTATIONS = [
    ("grants", "subject", "", "the subject is empty"),
    ("grants", "subject", "*", "the subject is '*'"),
    ("grants", "subject", "lead", "the subject is 'lead'"),
    ("grants", "subject", "team:vision", "the subject is 'team:vision'"),
    ("grants", "subject", "user:", "the subject is 'user:'"),
    ("grants", "subject", " user:lead", "the subject is ' user:lead'"),
    ("grants", "subject", "user:lead\n", "the subject is 'user:lead\\n'"),
    ("grants", "subject", "user:le*", "the subject is 'user:le*'"),
    ("grants", "domain", "", "the domain is empty"),
    ("grants", "domain", "vis*", "the domain is 'vis*'"),
    ("grants", "domain", "vision/lab", "the domain is 'vision/lab'"),
    ("grants", "object", "", "the object is empty"),
    ("grants", "object", "digits*", "the object is 'digits*'"),
    ("grants", "object", "/v2/models/*", "the object is '/v2/models/*'"),
    ("grants", "object", "@key", "the object is '@key'"),
    ("grants", "object", "d" * 129, "the object is 'ddd"),
    ("grants", "action", "", "the action is empty"),
    ("grants", "action", "Infer", "the action is 'Infer'"),
    ("grants", "action", "delete", "the action is 'delete'"),
    ("grants", "effect", "", "the effect is empty"),
    ("grants", "effect", "Deny", "the effect is 'Deny'"),
    ("grants", "effect", "deny ", "the effect is 'deny '"),
    ("grants", "effect", "*", "the effect is '*'"),
    ("roles", "subject", "", "the subject is empty"),
    ("roles", "subject", "*", "the subject is '*'"),
    ("roles", "role", "", "the role is empty"),
    ("roles", "role", "user:admin", "the role is 'user:admin'"),
    ("roles", "role", "*", "the role is '*'"),
    ("roles", "domain", "", "the domain is empty"),
    ("roles", "domain", "*vision", "the domain is '*vision'"),
]


def problems_of(text: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        read_rules(text)
    return caught.value.problems


def test_sound_rules_have_no_problems() -> None:
    """The rules that the mutations below start from are sound, and so is an empty policy."""
    assert validate(SOUND) == []
    assert validate(PolicyRules()) == []


@pytest.mark.parametrize(("rows", "field", "value", "says"), MUTATIONS)
def test_one_wrong_field_is_refused_and_named_with_its_row(
    rows: str, field: str, value: str, says: str
) -> None:
    """Any single wrong field in the second row is the one problem reported, and such rules do not compile."""
    before = getattr(SOUND, rows)
    changed = (before[0], msgspec.structs.replace(before[1], **{field: value}), *before[2:])
    rules = msgspec.structs.replace(SOUND, **{rows: changed})
    (problem,) = validate(rules)
    assert problem.startswith(f"{'p' if rows == 'grants' else 'g'} row 2: {says}")
    with pytest.raises(PolicyError):
        compile_policy(rules)


def test_all_problems_are_reported_together() -> None:
    """Somebody who mends a policy sees everything at once: each fault of each row, in both kinds of rows."""
    rules = PolicyRules(
        (Grant("", "", "", "", ""), Grant("user:a", "*", "*", "*"), Grant("user:a", "*", "*", "*")),
        (RoleAssignment("user:a", "owner", ""),),
    )
    assert [problem.partition(";")[0] for problem in validate(rules)] == [
        "p row 1: the subject is empty",
        "p row 1: the domain is empty",
        "p row 1: the object is empty",
        "p row 1: the action is empty",
        "p row 1: the effect is empty",
        "p row 3: says the same as p row 2",
        "g row 1: the role is 'owner'",
        "g row 1: the domain is empty",
    ]


def test_a_row_that_stands_twice_is_refused() -> None:
    """Of two equal rows one could be taken back and nothing would change; so the second is refused."""
    twice = PolicyRules(SOUND.grants, (*SOUND.roles, SOUND.roles[0]))
    assert validate(twice) == ["g row 3: says the same as g row 1"]


def test_rows_that_contradict_each_other_are_sound() -> None:
    """An allow and a deny of the same are a policy (deny wins), not a mistake."""
    allow = Grant("user:a", "vision", "digits", "flip")
    rules = PolicyRules((allow, msgspec.structs.replace(allow, effect="deny")))
    assert validate(rules) == []
    assert compile_policy(rules).decide("user:a", "vision", "digits", "flip") is False


def chain(links: int, domain: str = "vision") -> tuple[RoleAssignment, ...]:
    names = ["user:a", *(f"role:{number}" for number in range(1, links + 1))]
    return tuple(RoleAssignment(names[at], names[at + 1], domain) for at in range(links))


def test_a_chain_of_nine_rows_is_followed_to_its_end() -> None:
    """Nine rows is as deep as stock Casbin goes; the role behind the ninth still counts."""
    rules = PolicyRules((Grant("role:9", "vision", "digits", "infer"),), chain(9))
    assert compile_policy(rules).decide("user:a", "vision", "digits", "infer") is True


def test_a_chain_of_ten_rows_is_refused_with_its_names() -> None:
    """Stock Casbin would drop the tenth role silently; here the row that leads to it is named."""
    (problem,) = validate(PolicyRules((), chain(10)))
    assert problem.startswith(
        "g row 10: role:10 is 10 rows away from user:a, more than the 9 that are followed: "
    )
    assert problem.endswith("user:a > " + " > ".join(f"role:{number}" for number in range(1, 11)))


def test_a_chain_across_domains_counts_only_where_its_rows_meet() -> None:
    """Ten links given for two domains never meet in one; with the rows for every domain they do."""
    first, second = chain(10)[:5], chain(10, "language")[5:]
    assert validate(PolicyRules((), (*first, *second))) == []
    everywhere = tuple(msgspec.structs.replace(each, domain="*") for each in second)
    (problem,) = validate(PolicyRules((), (*first, *everywhere)))
    assert problem.startswith("g row 10: role:10 is 10 rows away from user:a")


def test_a_chain_that_begins_everywhere_and_ends_in_one_domain_is_found() -> None:
    """Rows for every domain that lead into rows of one domain make one chain there, however they are
    ordered."""
    first, second = chain(10, "*")[:5], chain(10)[5:]
    (problem,) = validate(PolicyRules((), (*second, *first)))
    assert problem.startswith("g row 5: role:10 is 10 rows away from user:a")


def test_a_shorter_way_makes_a_long_chain_sound() -> None:
    """What counts is the shortest way, as in stock Casbin: a shortcut in the middle brings the end within
    reach."""
    shortcut = RoleAssignment("role:2", "role:5", "*")
    assert validate(PolicyRules((), (*chain(10), shortcut))) == []


def test_a_cycle_adds_no_depth() -> None:
    """Roles that inherit each other in a ring are sound while every one of them is within reach."""
    ring = (*chain(9), RoleAssignment("role:9", "role:1", "vision"), RoleAssignment("role:3", "role:3", "*"))
    assert validate(PolicyRules((), ring)) == []


def test_circles_too_wide_to_check_are_refused_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy whose depth cannot be found out within the allowed steps is refused, not searched for
    hours."""
    wide = tuple(
        RoleAssignment(*names, "*")
        for n in range(60)
        for names in (("role:hub", f"role:r{n}"), (f"role:r{n}", "role:hub"))
    )
    assert validate(PolicyRules((), wide)) == []
    monkeypatch.setattr(chains, "MAX_STEPS", 2_000)
    (problem,) = validate(PolicyRules((), (*SOUND.roles, *wide)))
    assert problem.startswith(
        "g row 2: the roles from here on inherit each other in circles too wide to check"
    )


def test_rules_are_read_in_casbins_dialect() -> None:
    """Comments, blank lines, spaces round fields and Windows line ends are as Casbin has them."""
    text = "# comment\r\n\r\n  p , user:a,vision ,digits,  infer, allow \r\ng,user:a,role:b,*\r\n"
    assert read_rules(text) == rules_from_rows(
        [("user:a", "vision", "digits", "infer", "allow")], [("user:a", "role:b", "*")]
    )
    assert read_rules("") == PolicyRules()


@settings(max_examples=60, deadline=None)
@given(policies, st.sampled_from([",", ", ", " ,\t"]), st.sampled_from(["\n", "\r\n", "\n\n# p, x\n"]))
def test_casbin_reads_the_same_rows_from_the_same_file(
    tmp_path_factory: pytest.TempPathFactory, rules: PolicyRules, comma: str, end: str
) -> None:
    """Whatever `read_rules` accepts, stock Casbin's own file adapter reads as the very same rows."""
    lines = [["p", *msgspec.structs.astuple(each)] for each in rules.grants]
    lines += [["g", *msgspec.structs.astuple(each)] for each in rules.roles]
    file = tmp_path_factory.mktemp("rules") / "rules.csv"
    file.write_bytes("".join(comma.join(fields) + end for fields in lines).encode())
    enforcer = casbin.Enforcer(str(FOLDER / "model.conf"), str(file))
    read = read_rules(file)
    assert read == rules
    assert enforcer.get_policy() == [list(msgspec.structs.astuple(each)) for each in read.grants]
    assert enforcer.get_grouping_policy() == [list(msgspec.structs.astuple(each)) for each in read.roles]


def test_rows_that_casbin_would_drop_or_stumble_over_are_refused_with_their_lines() -> None:
    """A row of an unknown kind, a missing effect, a field too many, quotes: each is named, all together, in
    order."""
    problems = problems_of(
        "# one\n"
        "P, user:a, vision, digits, infer, allow\n"
        "p2, user:a, vision, digits, infer, allow\n"
        "p, user:a, vision, digits, infer\n"
        "p, user:a, vision, digits, infer, allow, more\n"
        "g, user:a, role:b\n"
        'p, "user:a", vision, digits, infer, allow\n'
        "p, user:a, vision, digits, infer, allow # why\n"
        "p, user:a, vision, digits, infer, allow\n"
        "p, user:a , vision, digits, infer, allow\n"
        ",,,,,\n"
    )
    assert [problem.partition(";")[0] for problem in problems] == [
        "line 2: a row begins with p or g, not with 'P'",
        "line 3: a row begins with p or g, not with 'p2'",
        "line 4: 4 fields after p",
        "line 5: 6 fields after p",
        "line 6: 2 fields after g",
        "line 7: the subject is '\"user:a\"'",
        "line 8: the effect is 'allow # why'",
        "line 10: says the same as line 9",
        "line 11: a row begins with p or g, not with ''",
    ]


def test_a_lone_carriage_return_ends_no_line(tmp_path: Path) -> None:
    """Casbin ends lines at line feeds only, so a row cannot hide behind a carriage return."""
    file = tmp_path / "rules.csv"
    file.write_bytes(
        b"# all is well\rp, user:a, *, *, *, deny\ng, user:a\r, role:b, *\ng, user\r:a, role:b, *\n"
    )
    with pytest.raises(PolicyError) as caught:
        read_rules(file)
    assert [problem.partition(";")[0] for problem in caught.value.problems] == [
        "line 3: the subject is 'user\\r:a'"
    ]


def test_a_file_that_cannot_be_read_is_a_problem_like_any_other(tmp_path: Path) -> None:
    """A missing file and one that is not UTF-8 are refused as policies are, with their path."""
    binary = tmp_path / "rules.csv"
    binary.write_bytes(b"p, user:\xff")
    for path in (binary, tmp_path / "absent.csv", str(tmp_path)):
        with pytest.raises(PolicyError) as caught:
            read_rules(path)
        assert caught.value.problems[0].startswith(str(path))
