"""`policies/model.conf` is the model that the compiler implements, and any other is refused."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.rules import PolicyRules
from gateway.policy.source import PolicyError
from gateway.policy.stock import MODEL, load_model, stock_enforcer

FILE = Path(__file__).parents[2] / "policies" / "model.conf"
TEXT = FILE.read_text()


def problems_of(text: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        load_model(text)
    return caught.value.problems


def test_the_models_of_the_package_and_of_the_folder_are_one() -> None:
    """The file that people read and the model that the tests compare with are both what is implemented."""
    load_model(FILE)
    load_model(str(FILE))
    load_model(MODEL)


def test_whitespace_and_comments_change_nothing() -> None:
    """A model laid out in another way, with other comments, is still the same model."""
    load_model(TEXT.replace(", ", ",").replace(" && ", "\t&&   "))
    load_model(TEXT.replace("\n", "\r\n"))
    load_model("# mine\n" + TEXT.replace(" \\\n    ", " "))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "r = sub, dom, obj, act",
            "r = sub, obj, dom, act",
            "[request_definition] r is: sub, obj, dom, act;",
        ),
        ("p = sub, dom, obj, act, eft", "p = sub, dom, obj, act", "[policy_definition] p is:"),
        ("g = _, _, _", "g = _, _", "[role_definition] g is: _, _;"),
        ("g = _, _, _", "g = _, _, _\ng2 = _, _", "[role_definition] g2 has no meaning here"),
        (" && !some(where (p.eft == deny))", "", "[policy_effect] e is:"),
        ("p.obj == r.obj", "keyMatch(r.obj, p.obj)", "[matchers] m is:"),
        ('p.act == "*"', 'p.act == "* "', "[matchers] m is:"),
        ('&& (p.obj == "*"', '|| (p.obj == "*"', "[matchers] m is:"),
        ('r.sub != "" && ', "", "[matchers] m is:"),
        ("g(r.sub, p.sub, r.dom)", 'g(r.sub, p.sub, "*")', "[matchers] m is:"),
    ],
)
def test_a_model_that_says_something_else_is_refused_with_its_line(old: str, new: str, says: str) -> None:
    """Each definition that differs is named, with the line where it stands and what it must be."""
    text = TEXT.replace(old, new)
    assert text != TEXT
    (problem,) = problems_of(text)
    line, _, rest = problem.partition(": ")
    assert rest.startswith(says)
    key = rest.split()[1]
    assert text.split("\n")[int(line.removeprefix("line ")) - 1].startswith(f"{key} =")


def test_a_later_definition_that_replaces_the_right_one_is_refused() -> None:
    """Casbin takes the last `m` of a file; so does the comparison, and the line it names is that one."""
    (problem,) = problems_of(TEXT + "m = g(r.sub, p.sub, r.dom)\n")
    assert problem.startswith(f"line {len(TEXT.splitlines()) + 1}: [matchers] m is: g(r.sub, p.sub, r.dom);")


def test_missing_definitions_are_reported_together() -> None:
    """An empty model lacks five definitions, and a person is told all five."""
    assert [problem.split(" is missing")[0] for problem in problems_of("\n")] == [
        "[request_definition] r",
        "[policy_definition] p",
        "[role_definition] g",
        "[policy_effect] e",
        "[matchers] m",
    ]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(TEXT)), st.text(alphabet='[]=\\\n# ,&"mgp2_(', max_size=4), st.integers(0, 6))
def test_a_damaged_model_is_refused_or_still_the_same(at: int, inserted: str, cut: int) -> None:
    """Whatever happens to the file, it is read as this very model or refused as a policy problem; nothing
    else."""
    text = TEXT[:at] + inserted + TEXT[at + cut :]
    try:
        model = load_model(text + "\n")
    except PolicyError:
        return
    assert model["r"]["r"].tokens == ["r_sub", "r_dom", "r_obj", "r_act"]
    assert model["p"]["p"].tokens == ["p_sub", "p_dom", "p_obj", "p_act", "p_eft"]


def test_every_enforcer_is_a_fresh_one() -> None:
    """Two enforcers share nothing, so rules are never loaded into one that decides."""
    rules = PolicyRules()
    first, second = stock_enforcer(rules), stock_enforcer(rules)
    assert first is not second
    assert first.get_model() is not second.get_model()
    assert first.get_role_manager() is not second.get_role_manager()
