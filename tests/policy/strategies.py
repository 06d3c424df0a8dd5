"""Random policies, small enough for stock Casbin and dense enough that rows meet: few names, many rows."""

from hypothesis import strategies as st

from gateway.policy.rules import Grant, PolicyRules, RoleAssignment

SUBJECTS = ["app:a", "user:a", "user:b"]
ROLES = ["role:a", "role:b", "role:c", "role:d"]
DOMAINS = ["vision", "vision-lab", "platform", "*"]
OBJECTS = ["digits", "digits-legacy", "@keys", "*"]
ACTIONS = ["infer", "flip", "*"]
EFFECTS = ["allow", "allow", "allow", "deny"]

grants = st.builds(
    Grant,
    st.sampled_from(SUBJECTS + ROLES + ROLES),
    st.sampled_from(DOMAINS),
    st.sampled_from(OBJECTS),
    st.sampled_from(ACTIONS),
    st.sampled_from(EFFECTS),
)
assignments = st.builds(
    RoleAssignment,
    st.sampled_from(SUBJECTS + SUBJECTS + ROLES),
    st.sampled_from(ROLES),
    st.sampled_from(DOMAINS),
)
policies = st.builds(
    PolicyRules,
    st.lists(grants, max_size=12, unique=True).map(tuple),
    st.lists(assignments, max_size=12, unique=True).map(tuple),
)

# Among them what no row names, what looks like a pattern, and what is empty.
requests = st.tuples(
    st.sampled_from([*SUBJECTS, *SUBJECTS, *SUBJECTS, "role:a", "user:c", "*", ""]),
    st.sampled_from([*DOMAINS, *DOMAINS, "language", "visio", ""]),
    st.sampled_from([*OBJECTS, *OBJECTS, "digit", "digits/../x", ""]),
    st.sampled_from([*ACTIONS, *ACTIONS, "admin", "Infer", ""]),
)


@st.composite
def chains(draw: st.DrawFn, max_links: int = 14) -> PolicyRules:
    """A chain of roles from `user:a` on, each link given for one domain or for all, with links back and
    across."""
    length = draw(st.integers(min_value=1, max_value=max_links))
    names = ["user:a", *(f"role:{number}" for number in range(length))]
    domain = st.sampled_from(["vision", "vision", "*", "platform"])
    one_domain = draw(st.booleans())
    fixed = draw(domain)
    links = [
        RoleAssignment(names[at], names[at + 1], fixed if one_domain else draw(domain))
        for at in range(length)
    ]
    extra = st.builds(RoleAssignment, st.sampled_from(names), st.sampled_from(names[1:]), domain)
    links += draw(st.lists(extra, max_size=3))
    held = st.builds(
        Grant,
        st.sampled_from(names),
        st.just("*"),
        st.just("digits"),
        st.just("flip"),
        st.sampled_from(EFFECTS),
    )
    rows = [Grant(names[-1], "*", "digits", "infer", "allow"), *draw(st.lists(held, max_size=3))]
    return PolicyRules(tuple(dict.fromkeys(rows)), tuple(dict.fromkeys(links)))
