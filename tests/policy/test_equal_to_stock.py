"""The compiled policy decides as stock Casbin does with `policies/model.conf`, whatever the rules."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.policy.chains import deep_chains
from gateway.policy.compiled import CompiledPolicy, compile_policy
from gateway.policy.rules import Grant, PolicyRules, RoleAssignment, validate
from gateway.policy.stock import stock_enforcer
from tests.policy.strategies import chains, policies, requests

MODEL = Path(__file__).parents[2] / "policies" / "model.conf"
ASKED = st.lists(requests, min_size=4, max_size=8, unique=True)


def assert_equal_to_stock(
    compiled: CompiledPolicy, rules: PolicyRules, asked: list[tuple[str, str, str, str]]
) -> None:
    stock = stock_enforcer(rules, MODEL)
    for request in asked:
        expected = stock.enforce(*request)
        assert compiled.decide(*request) is expected
        assert compiled.decide(*request) is expected, "the remembered decision is another"
        assert compiled.explain(*request).allowed is expected, "the explanation is of another decision"


@settings(max_examples=300, deadline=None)
@given(policies, ASKED)
def test_random_policies_decide_as_stock_casbin_does(
    rules: PolicyRules, asked: list[tuple[str, str, str, str]]
) -> None:
    """Wildcards, cycles, allows and denies in any mix: every decision is stock Casbin's, the first and the
    second."""
    assert_equal_to_stock(compile_policy(rules), rules, asked)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None)
@given(policies, ASKED)
def test_thousands_of_random_policies_decide_as_stock_casbin_does(
    rules: PolicyRules, asked: list[tuple[str, str, str, str]]
) -> None:
    """The same over thousands of policies, so that rare meetings of rows come up as well."""
    assert_equal_to_stock(compile_policy(rules), rules, asked)


@settings(max_examples=200, deadline=None)
@given(chains(), st.sampled_from(["vision", "platform", "language"]), st.sampled_from(["infer", "flip"]))
def test_deep_chains_decide_as_stock_casbin_does_or_are_refused(
    rules: PolicyRules, domain: str, action: str
) -> None:
    """Up to the depth that stock Casbin follows the decisions are equal; a policy that goes deeper does not
    compile."""
    if validate(rules):
        return
    head = rules.roles[0].subject
    assert_equal_to_stock(compile_policy(rules), rules, [(head, domain, "digits", action)])


@settings(max_examples=200, deadline=None)
@given(chains())
def test_a_policy_is_refused_exactly_when_stock_casbin_would_lose_a_role(rules: PolicyRules) -> None:
    """Too deep means: in some domain a name reaches a role by its rows, and stock Casbin does not find it."""
    links = [(each.subject, each.role, each.domain) for each in rules.roles]
    manager = stock_enforcer(rules).get_role_manager()
    compiled = CompiledPolicy(rules)
    lost = [
        (name, role, domain)
        for domain in ("vision", "platform", "language")
        for name in {subject for subject, _, _ in links}
        for role in compiled.roles_of(name, domain)
        if not manager.has_link(name, role, domain)
    ]
    assert bool(deep_chains(links)) == bool(lost)


NAMES = st.sampled_from(["a", "b", "c"])
UNCHECKED = st.builds(
    PolicyRules,
    st.lists(
        st.builds(
            Grant,
            NAMES,
            st.sampled_from(["d", "*"]),
            st.sampled_from(["a", "*"]),
            st.sampled_from(["x", "*"]),
            st.sampled_from(["allow", "deny"]),
        ),
        max_size=6,
    ).map(tuple),
    st.lists(st.builds(RoleAssignment, NAMES, NAMES, st.sampled_from(["d", "e", "*"])), max_size=8).map(
        tuple
    ),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(UNCHECKED, NAMES, st.sampled_from(["d", "e", "*"]))
def test_roles_that_are_named_like_users_decide_as_stock_casbin_does(
    rules: PolicyRules, subject: str, domain: str
) -> None:
    """Even where nobody checked the names, and roles, users and objects share them, the decisions are stock
    Casbin's."""
    assert_equal_to_stock(
        CompiledPolicy(rules), rules, [(subject, domain, "a", "x"), (subject, domain, "b", "x")]
    )


@settings(max_examples=150, deadline=None)
@given(policies, st.sampled_from(["app:a", "user:a", "role:a"]), st.sampled_from(["vision", "platform", "x"]))
def test_roles_of_are_the_roles_that_stock_casbin_finds(
    rules: PolicyRules, subject: str, domain: str
) -> None:
    """`roles_of` names every role that stock Casbin links the subject to in the domain, and no other."""
    manager = stock_enforcer(rules).get_role_manager()
    roles = {each.role for each in rules.roles} - {subject}
    expected = {role for role in roles if manager.has_link(subject, role, domain)}
    assert compile_policy(rules).roles_of(subject, domain) == expected


def test_an_empty_policy_denies_even_the_empty_request() -> None:
    """Stock Casbin matches an empty policy against a row of empty strings; the model's matcher keeps that
    shut."""
    empty = PolicyRules()
    nothing = ("", "", "", "")
    assert stock_enforcer(empty, MODEL).enforce(*nothing) is False
    assert compile_policy(empty).decide(*nothing) is False
    assert compile_policy(empty).decide("user:admin", "vision", "digits", "read") is False
