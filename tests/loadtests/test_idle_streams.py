"""The measurement of idle streams: a tiny run of the whole, and what people read."""

import json

import pytest

from gateway.wire import written
from loadtests import idle_streams, rpc_echo


@pytest.mark.slow
def test_a_tiny_run_tells_what_streams_take_and_that_they_live(capsys: pytest.CaptureFixture[str]) -> None:
    """All streams are answered by the version of the last change; the figures come out as JSON."""
    words = ["--streams=20", "--connections=2", "--seconds=2", "--flip-s=1", "--json"]
    status = idle_streams.main(words)
    printed = capsys.readouterr()
    assert status == 0, printed.err
    figures = json.loads(printed.out)
    assert (figures["streams"], figures["alive"]) == (20, 20)
    assert figures["changes"] > 1
    assert 10 < figures["before_mib"] <= figures["open_mib"] + 5


def test_people_read_what_one_stream_takes() -> None:
    """Of the larger of the two, with all streams open and at the end."""
    found = idle_streams.Found(1000, 10, 600.0, 12, 60.0, 90.0, 92.0, 80.0, 999, 0.25)
    assert found.stream_kib == pytest.approx(32.8, abs=0.1)
    assert "32.8 KiB a stream" in idle_streams.text(found)
    assert "999 of 1000 were answered" in idle_streams.text(found)


def test_the_server_says_which_version_it_was_asked_for() -> None:
    """The last one counts: the gateway writes it behind the caller's own."""
    pinned = written(1, "a") + written(7, b"tensor") + written(1, "m") + written(2, "7")
    assert rpc_echo.answer(pinned) == written(2, written(1, "m") + written(2, "7"))
