"""Calls of every wrong and right shape against a gateway's port, side by side: each has its answer, and nothing fails inside."""

import contextlib
import os
import random
import sys

import pytest
from hyperframe.frame import Frame, GoAwayFrame

from tests.dataplane.grpc.conftest import SERVICE, Client, RpcServer, infer, reply_of
from tests.gateway_process import APP, Gateway, wait_for
from tests.http2.peer import Closed, Peer
from tests.http2.wire import END_HEADERS, Code, Field, block, data, headers, reset

pytestmark = pytest.mark.slow

CONNECTIONS, CALLS = 150, 20

METHODS = [
    *(
        SERVICE + name
        for name in ("ModelInfer", "ModelStreamInfer", "ModelMetadata", "ModelReady", "ServerLive")
    ),
    SERVICE + "RepositoryIndex",
    SERVICE + "Nothing",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/",
]
NAMES = [
    b"grpc-timeout", b"grpc-encoding", b"authorization", b"x-api-key", b"x-raw-bin", b"x-request-id", b"traceparent",
    b"tracestate", b"maas-routing-key", b"maas-criticality", b"triton_grpc_error", b"te", b"user-agent", b"content-length",
    b"x-\xc3", b"host",
]  # fmt: skip
VALUES = [
    b"", b"1", b"-1", b"gzip", b"identity", b"10S", b"0n", b"99999999H", b"999999999H", b"1x", b"\xff\xfe", b"a" * 300,
    b"%zz", b"AAA", b"!!!", b"AP8=", b"true", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01", b"x\ty",
    b"Bearer " + APP.encode(), b"Bearer x.y.z",
]  # fmt: skip
CONTENTS = [
    infer(),
    infer(raw_input_contents=[bytes(20)]),
    b"",
    b"\xff\xff",
    infer("hidden"),
    infer("a", "9"),
]


def head(chance: random.Random) -> list[Field]:
    """Mostly that of a good call."""
    fields: list[Field] = [
        (b":method", chance.choice([b"POST"] * 8 + [b"GET"])),
        (b":scheme", b"http"),
        (b":path", chance.choice(METHODS).encode()),
        (b":authority", b"x"),
        (b"content-type", chance.choice([b"application/grpc"] * 9 + [b"application/json"])),
        (b"te", b"trailers"),
    ]
    if chance.random() < 0.8:
        fields.append((b"authorization", b"Bearer " + APP.encode()))
    count = chance.choice([0, 0, 1, 1, 2, 4])
    return fields + [(chance.choice(NAMES), chance.choice(VALUES)) for _ in range(count)]


def body(chance: random.Random) -> bytes:
    """Messages, some of which are none."""
    content = chance.choice([*CONTENTS, chance.randbytes(30)])
    flag = chance.choice([0, 0, 0, 0, 1, 2])
    length = chance.choice([len(content)] * 6 + [len(content) + 1, 2**32 - 1, 0])
    return (bytes([flag]) + length.to_bytes(4) + content) * chance.choice([0, 1, 1, 1, 2, 3])


def call(chance: random.Random, stream: int) -> bytes:
    """Its frames, as a rule in order."""
    sent = body(chance)
    cut = chance.randrange(len(sent) + 1)
    frames = [
        headers(stream, block(*head(chance)), END_HEADERS | (chance.random() < 0.05)),
        data(stream, sent[:cut], 0),
        data(stream, sent[cut:], chance.choice([0, 1, 1, 1, 1])),
    ]
    if chance.random() < 0.2:
        frames.append(reset(stream))
    return b"".join(frames)


def test_calls_of_every_shape_have_their_answer(
    client: Client, server: RpcServer, shared_rpc_gateway: Gateway
) -> None:
    """Whatever they say, every frame that comes back is sound; no connection ends but by its client's fault; and the log
    tells of no failure.
    """
    seed = 0 if "CI" in os.environ else random.randrange(sys.maxsize)
    chance = random.Random(seed)
    codes = {Code.NO_ERROR, Code.PROTOCOL_ERROR, Code.STREAM_CLOSED}
    for _ in range(CONNECTIONS):
        with Peer(("127.0.0.1", int(client.target.rpartition(":")[2]))) as peer:
            for number in range(chance.randrange(1, CALLS)):
                peer.send(call(chance, 2 * number + 1))
            with contextlib.suppress(Closed):
                peer.pinged()
            assert {found.error_code for found in peer.frames if isinstance(found, GoAwayFrame)} <= codes, (
                seed
            )
            assert all(_is_sound(found) for found in peer.frames), seed

    def answered() -> bool:
        return client.call(infer()).exception() is None

    # Those that were cut are still being ended.
    wait_for(answered, what="a good call to be answered")
    reply_of(client.call(infer()))
    log = (shared_rpc_gateway.folder / "log").read_text()
    assert "Traceback" not in log, (seed, log[log.index("Traceback") - 500 :][:3000])


def _is_sound(found: Frame) -> bool:
    """`Peer` has read it already; it came on a stream of the client's, or on none."""
    return found.stream_id % 2 == 1 or found.stream_id == 0
