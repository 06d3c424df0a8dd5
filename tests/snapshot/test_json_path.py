"""Paths into JSON: a small, closed part of JSONPath."""

import pytest

from gateway.snapshot.json_path import MOST_STEPS, parse_path


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("$", ()),
        ("$.a", ("a",)),
        ("$.a.b[*].c", ("a", "b", None, "c")),
        ("$.list[0][12]", ("list", 0, 12)),
        ("$['any name, even €'].x_1", ("any name, even €", "x_1")),
    ],
)
def test_paths_are_read(text: str, steps: tuple[object, ...]) -> None:
    """Members by name or in quotes, elements by number or all of them."""
    assert parse_path(text) == steps


@pytest.mark.parametrize(
    "text",
    ["", "a", "a.b", "$.", "$..a", "$.a.", "$.*", "$[", "$[]", "$[-1]", "$[01]", "$[1:2]", "$[?(@.a)]", "$['a", "$['']",
     "$.a b", "$.a-b", '$["a"]', "$.a\n", "$" + ".a" * (MOST_STEPS + 1)],
)  # fmt: skip
def test_what_is_no_such_path_is_refused_with_what_may_be_written(text: str) -> None:
    """Filters, slices, wildcards over members and descents are none of it."""
    with pytest.raises(ValueError, match=r"write \$\.name"):
        parse_path(text)
