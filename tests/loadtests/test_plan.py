"""The command line, the order of the peers, and the cores."""

import pytest

from loadtests.plan import PEERS, parse_options, rotated
from loadtests.processes import Cores, plan_cores


def test_the_default_measures_everything_in_three_rounds() -> None:
    """All peers, all payloads, 1 to 128 connections, three rounds of three seconds."""
    options = parse_options([])
    assert options.peers == PEERS
    assert options.payloads == (
        "json",
        "600KB",
        "16MB",
        "grpc",
        "grpc-600KB",
        "generate",
        "chat",
        "grpc-stream",
    )
    assert options.streams == (1, 100)
    assert (options.connections, options.rounds, options.duration_s) == ((1, 8, 32, 128), 3, 3)


def test_quick_takes_two_or_three_minutes_of_load() -> None:
    """With all six peers; what is chosen beside it still counts."""
    options = parse_options(["--quick"])
    assert 60 <= options.expected_s(5, 3, len(options.peers)) <= 180
    assert parse_options(["--quick", "--connections", "1"]).connections == (1,)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--peers", "envoy,apache"],
        ["--connections", "0"],
        ["--streams", "0"],
        ["--rounds", "-1"],
        ["--payloads", ""],
    ],
)
def test_a_wrong_choice_ends_with_status_two(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Unknown names and numbers below one are refused before anything starts."""
    with pytest.raises(SystemExit) as ended:
        parse_options(arguments)
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_every_peer_is_first_in_its_turn() -> None:
    """Over as many turns as there are peers, each one begins once, and none is left out."""
    turns = [rotated(PEERS, turn) for turn in range(len(PEERS))]
    assert {turn[0] for turn in turns} == set(PEERS)
    assert all(sorted(turn) == sorted(PEERS) for turn in turns)


def test_the_proxy_has_a_core_to_itself_as_far_as_there_are_cores() -> None:
    """Three cores: one for each part. Two: load and upstream share. One: everything shares, and it is said."""
    assert plan_cores([4, 2, 7, 3]) == Cores(proxy=7, load=2, upstream=3)
    assert plan_cores([0, 1]) == Cores(proxy=1, load=0, upstream=0)
    assert plan_cores([5]) == Cores(proxy=5, load=5, upstream=5)
    assert [plan_cores(cores).alone for cores in ([0, 1], [5])] == [True, False]
