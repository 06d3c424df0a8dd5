"""What is no measurement: errors, silence, and connections that hang."""

import pytest

from loadtests.load import Load
from loadtests.processes import BenchError

LOAD = Load(
    requests=40_000, duration_us=1_000_000, mean_us=400, p50_us=390, p99_us=900, max_us=2000, errors={}
)


def load(**changes: object) -> Load:
    """A spell of a second at 16 connections that are always at work, but for `changes`."""
    return Load(**{name: getattr(LOAD, name) for name in LOAD.__struct_fields__} | changes)


def test_a_good_spell_passes() -> None:
    """Nothing is wrong with 16 connections that got 40 000 replies of 0.4 ms each."""
    load().check("http://a", 16)
    assert load().requests_per_s == 40_000


@pytest.mark.parametrize(
    ("spell", "words"),
    [
        (load(requests=0, errors={"connect": 32}), r"no reply at all.*'connect': 32"),
        (load(errors={"status": 1}), r"40000 requests with errors"),
        (load(requests=1000), "connections hang"),
    ],
)
def test_what_went_wrong_is_no_measurement(spell: Load, words: str) -> None:
    """No reply, one bad reply, or most connections waiting in vain: each ends the benchmark."""
    with pytest.raises(BenchError, match=words):
        spell.check("http://a", 16)


def test_connections_that_hang_are_noticed() -> None:
    """Eight connections that got two quick replies each in a second were not at work, though no error was counted."""
    assert load(requests=16, mean_us=14e3, max_us=27e3).stalled(8)


def test_slow_replies_are_not_taken_for_hanging() -> None:
    """128 connections with replies of nearly a second, in a spell of two, may each have one more under way."""
    assert not load(requests=190, duration_us=2_000_000, mean_us=9e5, max_us=1.5e6).stalled(128)
