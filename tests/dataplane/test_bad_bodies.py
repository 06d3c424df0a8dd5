"""Bad input: bodies and the fields that describe them."""

import gzip
import json
import zlib

import pytest

from tests.dataplane.raw import RawClient, ask, chunked, expect_problem, request
from tests.dataplane.upstream import Upstream
from tests.gateway_process import Gateway

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    "value",
    [
        b"3",
        b"-1",
        b"99999999999",
        b"999999999999999999999",
        b"12abc",
        b"+2",
        b" ",
        b"",
        b"1 1",
        b"0x1",
        b"1.0",
    ],
)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_binary_header_lengths_that_cannot_be_are_refused(
    gateway: Gateway, upstream: Upstream, value: bytes, framing: str
) -> None:
    """Larger than the body, negative, no number: 400 on that field alone, however the body is framed."""
    fields = b"Inference-Header-Content-Length: " + value + b"\r\n"
    if framing == "length":
        data = request(headers=fields)
    else:
        data = request(headers=fields + CHUNKED, body=chunked(b"{}"), length=False)
    expect_problem(ask(gateway.address, data), 400)
    assert not [talk for talk in upstream.talks if talk.body]


def test_two_binary_header_lengths_are_refused(gateway: Gateway, upstream: Upstream) -> None:
    """400, also where both say the same."""
    expect_problem(ask(gateway.address, request(headers=b"Inference-Header-Content-Length: 2\r\n" * 2)), 400)
    assert not upstream.talks


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"gzip, gzip", b"x", b"gzip;q=1", b"identity, gzip"])
def test_unknown_encodings_are_refused(gateway: Gateway, upstream: Upstream, coding: bytes) -> None:
    """415."""
    expect_problem(ask(gateway.address, request(headers=b"Content-Encoding: " + coding + b"\r\n")), 415)
    assert not upstream.talks


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_is_refused_in_bounded_memory(gateway: Gateway, coding: str) -> None:
    """A body that grows beyond the limit when decompressed is 413, though its bytes are few."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31 if coding == "gzip" else 15)
    bomb = b"".join(compressor.compress(b"\x20" * MIB) for _ in range(200)) + compressor.flush()
    assert len(bomb) < MIB
    with gateway.memory_growth() as growth:
        reply = ask(gateway.address, request(body=bomb, headers=f"Content-Encoding: {coding}\r\n".encode()))
        expect_problem(reply, 413)
        assert growth() < 48 * MIB


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        gzip.compress(b"{}")[:-9] + b"\xff" * 9,
        gzip.compress(b"{}") + b"more",
        gzip.compress(b"{}") * 2,
        b"\x1f\x8b",
    ],
    ids=["plain", "broken", "more behind it", "two members", "cut"],
)
def test_what_is_not_compressed_as_said_is_refused_or_left_to_triton(
    gateway: Gateway, upstream: Upstream, body: bytes
) -> None:
    """400; a body that is only cut short passes untouched, for Triton to refuse."""
    reply = ask(gateway.address, request(body=body, headers=b"Content-Encoding: gzip\r\n"))
    if reply.status == 200:
        assert body == b"\x1f\x8b"
        assert upstream.talks[-1].body == body
    else:
        expect_problem(reply, 400)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("padding", [0, 256 * 1024 - 60, 256 * 1024 - 1, 3 * MIB])
def test_shared_memory_regions_are_found_in_compressed_bodies(
    gateway: Gateway, upstream: Upstream, coding: str, padding: int
) -> None:
    """Compression hides no region from the gateway."""
    text = b'{"x":"' + b"a" * padding + b'","parameters":{"shared_memory_region":"r"}}'
    body = gzip.compress(text) if coding == "gzip" else zlib.compress(text)
    expect_problem(
        ask(gateway.address, request(body=body, headers=f"Content-Encoding: {coding}\r\n".encode())), 400
    )


def test_compressed_bodies_pass_as_they_are(gateway: Gateway, upstream: Upstream) -> None:
    """What was looked at decompressed is passed on compressed, byte for byte."""
    body = gzip.compress(b'{"inputs":[]}')
    reply = ask(gateway.address, request(body=body, headers=b"Content-Encoding: gzip\r\n"))
    assert reply.status == 200
    assert upstream.talks[-1].body == body
    assert (b"Content-Encoding", b"gzip") in upstream.talks[-1].fields


def test_a_region_in_a_tensor_is_no_region(gateway: Gateway, upstream: Upstream) -> None:
    """Only the JSON part is looked at: bytes of a tensor may spell anything."""
    text = b'{"inputs":[]}'
    body = text + b'"shared_memory_region":'
    fields = f"Inference-Header-Content-Length: {len(text)}\r\n".encode()
    assert ask(gateway.address, request(body=body, headers=fields)).status == 200
    assert upstream.talks[-1].body == body


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_json_is_no_failure_of_the_gateway(gateway: Gateway, opening: str) -> None:
    """JSON 100 000 deep, where the gateway itself looks for a time-out in it: refused or left to Triton, quickly."""
    body = b'{"parameters":{"timeout":20000000},"x":' + opening.encode() * 100_000
    reply = ask(gateway.address, request(body=body))
    assert reply.status in (200, 400), reply.body
    deep_parameter = b'{"parameters":{"timeout":' + opening.encode() * 100_000
    assert ask(gateway.address, request(body=deep_parameter)).status in (200, 400)


@pytest.mark.parametrize(
    "parameters",
    [
        b'{"timeout":20000000,"timeout":30000000}',
        b'{"timeout":"\\ud800"}',
        b'{"timeout":-1}',
        b'{"timeout":1e400}',
        b'{"timeout":99999999999999999999999999}',
        b'{"timeout":true}',
        b'{"timeout":null}',
        b'{"timeout":0}',
    ],
)
def test_a_time_out_that_is_none_does_no_harm(gateway: Gateway, parameters: bytes) -> None:
    """400, or served with the default deadline: never a failure, never at once overdue."""
    reply = ask(gateway.address, request(body=b'{"inputs":[],"parameters":' + parameters + b"}"))
    assert reply.status in (200, 400), reply.body


def test_one_byte_over_the_limit_is_too_much(gateway: Gateway, upstream: Upstream) -> None:
    """The limit itself is served; one byte more is 413, declared or not."""
    most = 20 * MIB
    assert ask(gateway.address, request(body=b"a" * most), 20).status == 200
    assert len(upstream.talks[-1].body) == most
    with RawClient(gateway.address) as client:
        client.send(request(body=b"", length=False, headers=b"Content-Length: %d\r\n" % (most + 1)))
        expect_problem(client.reply(), 413)
    with RawClient(gateway.address) as client:
        client.send(request(body=b"", length=False, headers=CHUNKED))
        for _ in range(20):
            client.send(chunked(b"a" * MIB, last=b""))
        client.send(chunked(b"a"))
        expect_problem(client.reply(), 413)


def test_a_hundred_hostile_requests_leave_the_memory_as_it_was(gateway: Gateway) -> None:
    """Resident memory does not grow over requests that are refused in many ways."""
    bad = [
        request(headers=b"X-Big: " + b"a" * 200_000 + b"\r\n"),
        request(headers=CHUNKED, body=chunked(b"a" * 100_000, last=b"zz\r\n"), length=False),
        request(body=b"\x00" * 500_000, headers=b"Content-Encoding: gzip\r\n"),
        request("/v2/models/" + "b" * 60_000 + "/infer"),
        request(body=json.dumps({"shared_memory_region": "a" * 500_000}).encode()),
    ]

    def round_of_all() -> None:
        for data in bad:
            with RawClient(gateway.address) as client:
                client.send(data)
                assert client.reply().status >= 400

    round_of_all()
    before = gateway.rss_bytes()
    for _ in range(20):
        round_of_all()
    assert gateway.rss_bytes() - before < 8 * MIB
