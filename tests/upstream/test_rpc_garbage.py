"""Replies of every wrong and right shape: each call has its end, once, and no exception leaves the connection."""

import os
import random
import sys

import pytest

from gateway.upstream.exchange import Exchange
from tests.http2.fuzz import changed, stored
from tests.http2.wire import data, goaway, reset
from tests.upstream.rpc_line import Server, Sink, head, message, outcome, sent, trailers

pytestmark = pytest.mark.usefixtures("without_timers")

TRIES = 1500


def pieces(chance: random.Random, stream: int) -> list[bytes]:
    """Parts of a reply."""
    content = message(
        chance.choice([b"", b"abc", b"\x0a\x1bRequest for unknown model: x", bytes(20_000)]),
        flag=chance.choice([0, 0, 0, 0, 1, 2]),
        length=chance.choice([None, None, None, 4, 2**32 - 1]),
    )
    return [
        head(
            *chance.choice([(), ((b"grpc-encoding", b"gzip"),), ((b"grpc-encoding", b"x"),)]), stream=stream
        ),
        sent(content, stream),
        sent(content[:3], stream),
        data(stream, b"", 1),
        trailers(
            chance.choice([b"0", b"0", b"5", b"14", b"x", b"9" * 30]),
            (b"grpc-message", b"%zz%C3"),
            stream=stream,
        ),
        reset(stream, chance.choice([0, 7, 8])),
    ]


def said(chance: random.Random, pool: list[bytes]) -> bytes:
    """What a server says to four calls: as a rule what might be, at times what nobody says."""
    if chance.random() < 0.3:
        return changed(chance, pool)
    parts = [chance.choice(pieces(chance, chance.choice([1, 3, 5, 7]))) for _ in range(chance.randrange(12))]
    if chance.random() < 0.2:
        parts.append(goaway(0, chance.choice([0, 1, 5])))
    return b"".join(parts)


def ended_once(exchange: Exchange, sink: Sink) -> bool:
    """The call has ended, and what came of it is in order."""
    whole = [what for what, *_ in sink.told if what in ("whole", "end")]
    return outcome(exchange) != "under way" and len(whole) <= 1 and (not whole or sink.told[-1][0] in whole)


def test_every_call_has_its_end() -> None:
    """Of four, two of them streams of which one is read slowly."""
    seed = 0 if "CI" in os.environ else random.randrange(sys.maxsize)
    chance = random.Random(seed)
    pool = list(stored("client").values())
    for number in range(TRIES):
        server = Server()
        calls = [server.asked(stream=stream) for stream in (False, False, True, True)]
        slow = calls[3][1]
        slow.takes_one = True
        for _ in range(3):
            server.says(said(chance, pool))
            if slow.source is not None:
                slow.source.resume_reading()
        server.line.lose()
        while slow.source is not None and outcome(calls[3][0]) == "under way":
            slow.source.resume_reading()
        assert all(ended_once(*each) for each in calls), (seed, number, [sink.told for _, sink in calls])
