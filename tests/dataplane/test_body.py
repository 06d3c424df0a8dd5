"""A request's body as the steps before `forward` see it."""

import gzip

import pytest

from gateway.dataplane.http.body import IncomingBody
from gateway.errors import GatewayError
from gateway.upstream.exchange import SEEN_BYTES


class Owner:
    """A connection that lets its body be."""

    def hold_body(self, hold: bool) -> None: ...
    def body_wanted(self) -> None: ...
    def body_failed(self, error: GatewayError) -> None:
        raise error


@pytest.mark.parametrize("piece_bytes", [1_000, 8_192, 60_000])
@pytest.mark.parametrize("encoding", [b"", b"gzip"])
def test_what_is_seen_does_not_depend_on_how_it_arrived(piece_bytes: int, encoding: bytes) -> None:
    """Whether a shape is found behind 32 KiB would else be up to the network."""
    text = b'{"inputs":[{"data":[' + b"1," * 20_000 + b'1],"shape":[7]}]}'
    data = gzip.compress(text, 0) if encoding else text
    body = IncomingBody(len(data), 1_000_000, Owner())
    body.look_at(encoding, None)
    for start in range(0, len(data), piece_bytes):
        body.feed(data[start : start + piece_bytes])
    body.end()
    assert body.text() == text[:SEEN_BYTES]
