"""Roles that come with a credential decide as if each were one more row of the policy."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.compiled import compile_policy
from gateway.policy.rules import Grant, PolicyRules, RoleAssignment, validate
from gateway.policy.stock import stock_enforcer
from tests.policy.strategies import ACTIONS, DOMAINS, OBJECTS, ROLES, SUBJECTS, policies

GIVEN = st.lists(st.tuples(st.sampled_from(ROLES), st.sampled_from(DOMAINS)), max_size=4).map(tuple)
ASKED = st.lists(
    st.tuples(
        st.sampled_from([*DOMAINS, "language", ""]),
        st.sampled_from([*OBJECTS, "digit", ""]),
        st.sampled_from([*ACTIONS, "admin", ""]),
    ),
    min_size=4,
    max_size=8,
    unique=True,
)


def with_rows(rules: PolicyRules, subject: str, roles: tuple[tuple[str, str], ...]) -> PolicyRules:
    """The rules with a `g` row for each of the roles."""
    rows = (RoleAssignment(subject, role, domain) for role, domain in roles)
    return PolicyRules(rules.grants, tuple(dict.fromkeys([*rules.roles, *rows])))


def check(
    rules: PolicyRules,
    subject: str,
    roles: tuple[tuple[str, str], ...],
    asked: list[tuple[str, str, str]],
) -> None:
    written = with_rows(rules, subject, roles)
    assert not validate(written)
    compiled, stock = compile_policy(rules), stock_enforcer(written)
    reference = compile_policy(written)
    for domain, obj, action in asked:
        expected = stock.enforce(subject, domain, obj, action)
        bare = compiled.decide(subject, domain, obj, action)
        assert compiled.decide(subject, domain, obj, action, roles) is expected
        assert compiled.decide(subject, domain, obj, action, roles) is expected, "remembered otherwise"
        assert compiled.decide(subject, domain, obj, action) is bare, "given roles stay with who has them"
        assert compiled.explain(subject, domain, obj, action, roles).allowed is expected
        if domain:
            assert compiled.roles_of(subject, domain, roles) == reference.roles_of(subject, domain)
    assert compiled.teams_of(subject, roles) == reference.teams_of(subject)


@settings(max_examples=200, deadline=None)
@given(policies, st.sampled_from(SUBJECTS), GIVEN, ASKED)
def test_given_roles_decide_as_rows_of_stock_casbin_would(
    rules: PolicyRules,
    subject: str,
    roles: tuple[tuple[str, str], ...],
    asked: list[tuple[str, str, str]],
) -> None:
    """Any policy, any roles, those for every domain among them: the decision is that of stock Casbin with these `g` rows
    added, and so are the roles and teams that are told."""
    check(rules, subject, roles, asked)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(policies, st.sampled_from(SUBJECTS), GIVEN, ASKED)
def test_thousands_of_given_roles_decide_as_rows_of_stock_casbin_would(
    rules: PolicyRules,
    subject: str,
    roles: tuple[tuple[str, str], ...],
    asked: list[tuple[str, str, str]],
) -> None:
    """The same over thousands of policies."""
    check(rules, subject, roles, asked)


POLICY = compile_policy(
    PolicyRules(
        (
            Grant("role:consumer", "*", "*", "infer", "allow"),
            Grant("role:suspended", "*", "*", "*", "deny"),
            Grant("user:bad", "*", "digits", "infer", "deny"),
        )
    )
)


def test_a_deny_wins_wherever_it_comes_from() -> None:
    """A row on the principal itself and a row on any given role overrule every given allow."""
    consumer = ("role:consumer", "vision")
    assert POLICY.decide("user:a", "vision", "digits", "infer", (consumer,)) is True
    assert POLICY.decide("user:bad", "vision", "digits", "infer", (consumer,)) is False
    both = (consumer, ("role:suspended", "vision"))
    assert POLICY.decide("user:a", "vision", "digits", "infer", both) is False


def test_a_given_role_counts_in_its_team_alone() -> None:
    """Neither an allow nor a deny reaches another team's aliases."""
    elsewhere = (("role:consumer", "vision"), ("role:suspended", "language"))
    assert POLICY.decide("user:a", "vision", "digits", "infer", elsewhere) is True
    assert POLICY.decide("user:a", "language", "digits", "infer", elsewhere) is False
    assert POLICY.decide("user:a", "platform", "digits", "infer", elsewhere) is False


def test_a_chain_that_begins_with_a_given_role_is_followed_to_its_end() -> None:
    """The nine rows that a policy may be deep, and the given role before them: stock Casbin would lose the last one, and with
    it a deny; here it holds."""
    links = tuple(RoleAssignment(f"role:{n}", f"role:{n + 1}", "vision") for n in range(9))
    policy = compile_policy(
        PolicyRules((Grant("role:0", "*", "*", "infer"), Grant("role:9", "*", "*", "infer", "deny")), links)
    )
    assert policy.decide("user:a", "vision", "digits", "infer", (("role:0", "vision"),)) is False
    assert policy.decide("user:a", "vision", "digits", "infer", (("role:1", "vision"),)) is False


def test_an_explanation_names_the_given_role() -> None:
    """So that who asks about itself sees why."""
    found = POLICY.explain("user:a", "vision", "digits", "infer", (("role:consumer", "vision"),))
    assert found.allowed
    assert found.roles == {"role:consumer"}
    assert "user:a > role:consumer" in found.text
