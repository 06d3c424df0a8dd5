"""Names come from other people; what is printed of them must not steer the terminal."""

import json

import pytest

from gateway.cli.output import Refused, emit_json, safe, table

HOSTILE = "\x1b[31mred\x07\u202ereversed\u2028line\x9b2J\udcff"


def test_no_control_or_format_character_gets_through() -> None:
    """Escape sequences, bidirectional overrides, C1 controls and lone surrogates come out as visible escapes."""
    shown = safe(HOSTILE)
    assert shown.isprintable()
    assert "\\x1b[31mred" in shown
    assert "\\u202e" in shown
    assert safe("naïve 名前 👍") == "naïve 名前 👍"


def test_a_table_in_a_pipe_is_plain_and_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns line up, a hostile cell keeps its row on one line, and nothing is coloured."""
    table(("name", "note"), [("a", "x\ny"), ("long-name", "[bold]z[/bold]")])
    assert capsys.readouterr().out == "name       note\na          x\\ny\nlong-name  [bold]z[/bold]\n"


def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """An empty list is told in words, not by silence."""
    table(("name",), [], empty="There is no alias that you may see.")
    assert capsys.readouterr().out == "There is no alias that you may see.\n"


def test_json_is_ascii_and_reads_back(capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON of a hostile name is harmless on a terminal and exact for a program."""
    emit_json({"name": HOSTILE})
    text = capsys.readouterr().out
    assert text.isascii()
    assert "\x1b" not in text
    assert json.loads(text) == {"name": HOSTILE}


def test_a_refusal_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the server says, standard error gets one line of it."""
    Refused("first\nsecond\x1b[2J").show()
    assert capsys.readouterr().err == "maas: first\\nsecond\\x1b[2J\n"
