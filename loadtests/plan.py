"""What a run measures, from the command line, and in which order."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from loadtests.payloads import all_payloads

WARM_UP_S = 1
LAST_STREAMS_S = 1.5
"""A spell of streams ends with the last of them: that, and the start of what listens."""

PEERS = ("direct", "nginx", "envoy", "maas", "maas+quotas", "maas+redis")


class Options(msgspec.Struct, frozen=True):
    """The choices for a run. Durations in seconds, for each spell of load."""

    peers: tuple[str, ...]
    payloads: tuple[str, ...]
    connections: tuple[int, ...]
    streams: tuple[int, ...]
    rounds: int
    duration_s: int
    json_to_stdout: bool
    results: Path
    write_docs: bool

    def expected_s(self, payloads: int, streams: int, peers: int) -> float:
        """About how long the load alone takes, with the warm-up of each peer, for so many payloads and kinds of stream."""
        spells = len(self.connections) * self.rounds
        listened = len(self.streams) * self.rounds
        unary_s = spells * (self.duration_s + 0.1) + WARM_UP_S
        streams_s = listened * (self.duration_s + LAST_STREAMS_S) + WARM_UP_S
        return peers * (payloads * unary_s + streams * streams_s)


def parse_options(arguments: Sequence[str]) -> Options:
    """Decode the command line; argparse ends the program with status 2 on a fault."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a few minutes: one round of 2 s at 32 connections, 100 streams"
    )
    parser.add_argument("--peers", type=_names(PEERS), default=PEERS, metavar=",".join(PEERS))
    parser.add_argument(
        "--payloads",
        type=_names(tuple(all_payloads())),
        default=tuple(all_payloads()),
        metavar=",".join(all_payloads()),
    )
    parser.add_argument("--connections", type=_numbers, metavar="1,8,32,128")
    parser.add_argument("--streams", type=_numbers, metavar="1,100", help="streams of tokens at a time")
    parser.add_argument("--rounds", type=_positive, metavar="3")
    parser.add_argument("--duration", type=_positive, metavar="3", help="seconds for each spell of load")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, and no table")
    parser.add_argument("--results", type=Path, default=Path("loadtests/results"), metavar="FOLDER")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/benchmarks.md")
    chosen = parser.parse_args(arguments)
    quick = chosen.quick
    return Options(
        peers=chosen.peers,
        payloads=chosen.payloads,
        connections=chosen.connections or ((32,) if quick else (1, 8, 32, 128)),
        streams=chosen.streams or ((100,) if quick else (1, 100)),
        rounds=chosen.rounds or (1 if quick else 3),
        duration_s=chosen.duration or (2 if quick else 3),
        json_to_stdout=chosen.json,
        results=chosen.results,
        write_docs=chosen.write_docs,
    )


def rotated(peers: Sequence[str], turn: int) -> list[str]:
    """The peers, another one first at each turn, so that none always follows the same neighbour's leftovers."""
    first = turn % len(peers)
    return [*peers[first:], *peers[:first]]


def _names(known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    def names(text: str) -> tuple[str, ...]:
        chosen = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
        return chosen

    return names


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(_positive(part) for part in text.split(",")))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not greater than zero")
    return number
