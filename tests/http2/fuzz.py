"""Looks for bytes that HTTP/2 does not stand: `python -m tests.http2.fuzz --seconds 60 --seed 7`.

It changes what is in the corpus, and keeps what leads to lines of code, one behind the other, that nothing before it led to.
`--keep` writes those into the corpus; what breaks a promise of `replayed` is written to `broken-…` here, and told.
"""

import argparse
import hashlib
import random
import struct
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import gateway.http2
from tests.http2.in_memory import no_timers
from tests.http2.replayed import ROLES, replay
from tests.http2.sections.compression import COMPRESSION
from tests.http2.sections.frames import FRAMES
from tests.http2.sections.framing import FRAMING
from tests.http2.sections.messages import MESSAGES
from tests.http2.sections.replies import CASES
from tests.http2.sections.streams import STREAMS

CORPUS = Path(__file__).parent / "corpus"
MOST_BYTES = 4096
_OURS = str(Path(gateway.http2.__file__).parent)
_INTERESTING = (0, 1, 2, 3, 4, 5, 8, 0x24, 0x25, 0x7F, 0x80, 0xBE, 0xFF)

Steps = set[tuple[str, int, int]]
Mutation = Callable[[random.Random, bytearray], None]


def seeds(role: str) -> list[bytes]:
    """What the RFCs' cases send."""
    cases = CASES if role == "client" else FRAMING + STREAMS + FRAMES + MESSAGES + COMPRESSION
    # Stream 1 is taken in a replay as a server.
    return [case.sent for case in cases if len(case.sent) <= MOST_BYTES]


def stored(role: str) -> dict[str, bytes]:
    """The corpus of a role, by name of file."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / role).glob("*"))}


# --- changes ---


def _heads(data: bytearray) -> list[int]:
    """Where frames begin."""
    found, at = [], 0
    while at + 9 <= len(data):
        found.append(at)
        at += 9 + int.from_bytes(data[at : at + 3])
    return found


def _set_byte(chance: random.Random, data: bytearray) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.choice((*_INTERESTING, chance.randrange(256)))


def _flip_bit(chance: random.Random, data: bytearray) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _cut(chance: random.Random, data: bytearray) -> None:
    del data[chance.randrange(len(data) + 1) :]


def _remove(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data) + 1)
    del data[at : at + chance.randrange(1, 20)]


def _repeat_frame(chance: random.Random, data: bytearray) -> None:
    heads = _heads(data)
    if heads:
        at = chance.choice(heads)
        piece = data[at : at + 9 + int.from_bytes(data[at : at + 3])]
        data[at:at] = piece * chance.choice((1, 2, 30))


def _move_frame(chance: random.Random, data: bytearray) -> None:
    heads = _heads(data)
    if len(heads) > 1:
        at = chance.choice(heads)
        piece = bytes(data[at : at + 9 + int.from_bytes(data[at : at + 3])])
        del data[at : at + len(piece)]
        where = chance.choice(_heads(data) or [0])
        data[where:where] = piece


def _change_head(chance: random.Random, data: bytearray) -> None:
    heads = _heads(data)
    if not heads:
        return
    at = chance.choice(heads)
    match chance.randrange(4):
        case 0:
            data[at + 3] = chance.randrange(11)
        case 1:
            data[at + 4] = chance.choice((0, 1, 4, 5, 8, 9, 0x20, 0x2D, chance.randrange(256)))
        case 2:
            data[at + 5 : at + 9] = struct.pack(
                ">I", chance.choice((0, 1, 1, 2, 3, 5, 7, 9, 2**31 - 1, 2**31 + 1))
            )
        case _:
            length = max(0, int.from_bytes(data[at : at + 3]) + chance.choice((-9, -1, 1, 5, 9, 16_384)))
            data[at : at + 3] = (length & 0xFFFFFF).to_bytes(3)


def _new_frame(chance: random.Random, data: bytearray) -> None:
    payload = chance.choice(
        (
            b"",
            bytes(4),
            bytes(8),
            b"\0\0\0\1",
            b"\x7f\xff\xff\xff",
            b"\0\4\0\0\0\0",
            b"\0\3\0\0\0\1",
            chance.randbytes(chance.randrange(30)),
        )
    )
    stream = chance.choice((0, 1, 1, 3, 5, 7, 9, 11, 2))
    head = struct.pack(">I", len(payload))[1:] + bytes((chance.randrange(10), chance.choice((0, 1, 4, 5, 8))))
    where = chance.choice((_heads(data) or [0]) + [len(data)])
    data[where:where] = head + struct.pack(">I", stream) + payload


MUTATIONS: tuple[Mutation, ...] = (
    _set_byte, _flip_bit, _cut, _remove, _repeat_frame, _move_frame, _change_head, _change_head, _new_frame, _new_frame,
)  # fmt: skip


def changed(chance: random.Random, pool: list[bytes]) -> bytes:
    """One of the pool, or the beginning of one with the end of another, with some changes."""
    data = bytearray(chance.choice(pool))
    if chance.random() < 0.4:
        other = bytearray(chance.choice(pool))
        data[chance.choice((_heads(data) or [0]) + [len(data)]) :] = other
    for _ in range(chance.choice((1, 1, 2, 3, 6))):
        chance.choice(MUTATIONS)(chance, data)
    return bytes(data[:MOST_BYTES])


# --- what an input leads to ---


def steps_of(role: str, data: bytes) -> Steps:
    """The pairs of lines of `gateway.http2` that run one behind the other in a function."""
    found: Steps = set()

    def calls(frame: FrameType, _: str, __: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_OURS):
            return None
        name = f"{frame.f_code.co_filename}:{frame.f_code.co_name}"
        last = 0

        def lines(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal last
            if event in ("line", "exception"):
                found.add((name, last, frame.f_lineno))
                last = frame.f_lineno
            return lines

        return lines

    sys.settrace(calls)
    try:
        ROLES[role](data, [])
    finally:
        sys.settrace(None)
    return found


def smallest(role: str, inputs: list[bytes]) -> list[bytes]:
    """Few of them, small ones, that lead to all that they lead to together."""
    known: Steps = set()
    kept = []
    for data in sorted(set(inputs), key=lambda data: (len(data), data)):
        steps = steps_of(role, data)
        if not steps <= known:
            known |= steps
            kept.append(data)
    return kept


def fuzz(role: str, seconds: float, chance: random.Random) -> tuple[list[bytes], list[bytes]]:
    """What was found interesting, seeds among it, and what broke a promise."""
    pool = smallest(role, [*seeds(role), *stored(role).values()])
    known: Steps = set()
    for data in pool:
        known |= steps_of(role, data)
    broken: list[bytes] = []
    until, count, begun_with = time.monotonic() + seconds, 0, len(pool)
    while time.monotonic() < until:
        data = changed(chance, pool)
        count += 1
        try:
            steps = steps_of(role, data)
            if not steps <= known or count % 20 == 0:
                replay(role, data)
        except Exception:
            traceback.print_exc()
            broken.append(data)
            continue
        if not steps <= known:
            known |= steps
            pool.append(data)
    print(f"{role}: {count} tried, {len(pool) - begun_with} new among {len(pool)}, {len(broken)} broken")
    return pool, broken


def main(arguments: list[str]) -> int:
    """Fuzz both roles."""
    parser = argparse.ArgumentParser(prog="python -m tests.http2.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for both roles together")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", action="store_true", help="write what is new into the corpus")
    given = parser.parse_args(arguments)
    status = 0
    with no_timers():
        for role in ROLES:
            pool, broken = fuzz(role, given.seconds / len(ROLES), random.Random(given.seed))
            for data in broken[:10]:
                Path(f"broken-{role}-{_name(data)}").write_bytes(data)
                status = 1
            if given.keep:
                (CORPUS / role).mkdir(parents=True, exist_ok=True)
                kept = {_name(data): data for data in smallest(role, pool)}
                for name in stored(role).keys() - kept.keys():
                    (CORPUS / role / name).unlink()
                for name, data in kept.items():
                    (CORPUS / role / name).write_bytes(data)
    return status


def _name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
