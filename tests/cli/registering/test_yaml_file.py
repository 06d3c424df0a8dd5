"""YAML as model files have it: plain data with its lines, and nothing that unfolds, runs or surprises."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.registering.yaml_file import MOST_NODES, YamlRefused, read_yaml

BOMB = "a: &a [x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_scalars_are_what_they_look_like() -> None:
    """Only null, true, false and plain numbers are no texts: no is a country, a date is a text, quotes make texts."""
    read = read_yaml(
        b"a: no\nb: 2026-01-02\nc: '12'\nd: 12\ne: 1.5\nf: true\ng: ~\nh:\ni: 0x1f\nj: 1e3\n"
        b"k: .nan\nl: 0123\nm: on\nn: >-\n  two\n  lines\no: 9999999999999999999999\np: -3\n"
    ).value
    assert read == {
        "a": "no",
        "b": "2026-01-02",
        "c": "12",
        "d": 12,
        "e": 1.5,
        "f": True,
        "g": None,
        "h": None,
        "i": "0x1f",
        "j": 1000.0,
        "k": ".nan",
        "l": "0123",
        "m": "on",
        "n": "two lines",
        "o": "9999999999999999999999",
        "p": -3,
    }


def test_everything_has_its_line() -> None:
    """A fault is told with the line where it stands, or of what it is missing from."""
    document = read_yaml(b"one:\n  - two: x\n    three: [a,\n      b]\nfour: y\n")
    assert document.line_of("one[0].two") == 2
    assert document.line_of("one[0].three[1]") == 4
    assert document.line_of("one[0].missing.deeper") == 2
    assert document.line_of("four") == 5
    assert document.line_of("nothing") == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "line 1: anchors and aliases"),
        ("a: &x 1\n", "anchors"),
        ("a: *x\n", "anchors and aliases|undefined alias"),
        ("&x a: 1\n", "a key must be a plain text"),
        ("a: !!python/object/apply:os.system ['true']\n", "line 1: tags"),
        ("a: 1\n<<: {b: 2}\nb: !!binary aGk=\n", "line 3: tags"),
        ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' stands twice"),
        ("? [a, b]\n: 1\n", "a key must be a plain text"),
        ("a: 1\n---\nb: 2\n", "line 2: a second document"),
        ("a: [1, 2\nb: }\n", "line 2"),
        ("a:\n\t- b\n", "line 2"),
        ("[" * 30 + "]" * 30, "deeper than 20"),
        ("[" * 100_000, "deeper than 20|line 1"),
        ("- x\n" * (MOST_NODES + 1), "more than 20000 things"),
        ("a: \x00\n", "no YAML|special characters|line 1"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    """Bombs, code, keys twice, nests, floods: refused at once, with the line."""
    with pytest.raises(YamlRefused, match=words):
        read_yaml(text.encode())


def test_bytes_that_are_no_text_are_refused() -> None:
    """In words, not with a traceback."""
    with pytest.raises(YamlRefused, match=r"no YAML in UTF-8|line"):
        read_yaml(b"a: \xff\xfe\xfa\n")


@given(st.binary(max_size=200) | st.text(alphabet="a:- []{}&*!|>\n'\"#?%@~1", max_size=60).map(str.encode))
def test_whatever_comes_is_read_or_refused(content: bytes) -> None:
    """No other exception leaves the reader."""
    with contextlib.suppress(YamlRefused):
        read_yaml(content)
