"""The head reader: any fields are understood or refused; nothing that is the gateway's or a proxy's passes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dataplane.http.head import Head, read_head
from gateway.errors import GatewayError

MAX = 1000
NAMES = st.sampled_from(
    b"Host Content-Length Transfer-Encoding Connection Expect Upgrade Authorization X-API-Key Maas-Routing-Key X-Request-Id "
    b"Content-Encoding Inference-Header-Content-Length Traceparent Cookie X-Forwarded-For Maas-X X-Tenant TE Accept".split()
)
VALUES = st.one_of(
    st.sampled_from(
        [
            b"",
            b"0",
            b"5",
            b"-1",
            b"12abc",
            b"chunked",
            b"close",
            b"100-continue",
            b"gzip",
            b"a",
            b"99999999999",
        ]
    ),
    st.from_regex(rb"[!-~ \t\x80-\xff]{0,20}", fullmatch=True).map(bytes.strip),
)


def cased(name: bytes, how: int) -> bytes:
    """Another spelling of a name."""
    return (name, name.upper(), name.lower())[how]


def read(fields: list[tuple[bytes, bytes]], http_11: bool = True) -> Head:
    """The head of these fields."""
    return read_head(fields, http_11, MAX)


@settings(max_examples=1500)
@given(
    st.lists(st.tuples(NAMES, VALUES, st.integers(0, 2)), max_size=8),
    st.booleans(),
)
def test_any_fields_are_a_head_or_refused(rows: list[tuple[bytes, bytes, int]], http_11: bool) -> None:
    """Never another failure; what passes holds no credential, hop-by-hop or forged field, and no line break."""
    # llhttp lets no Content-Length through that is no number.
    fields = [
        (cased(name, how), value)
        for name, value, how in [(b"Host", b"h", 0), *rows]
        if name != b"Content-Length" or value.isdigit()
    ]
    try:
        head = read(fields, http_11)
    except GatewayError:
        return
    lines = head.headers.split(b"\r\n")
    assert lines.pop() == b""
    names = [line.partition(b": ")[0].lower() for line in lines]
    dropped = {
        b"host",
        b"authorization",
        b"x-api-key",
        b"cookie",
        b"te",
        b"connection",
        b"upgrade",
        b"expect",
    }
    assert not dropped & set(names)
    assert not {b"content-length", b"transfer-encoding"} & set(names)
    assert not [name for name in names if name.startswith((b"maas-", b"x-forwarded-", b"x-tenant"))]
    assert names.count(b"x-request-id") <= 1
    assert head.length is None or 0 <= head.length <= MAX


@pytest.mark.parametrize("host", [b"h", b"h:80", b"a.b-c", b"[::1]", b"[::1]:80", b"127.0.0.1:8080", b""])
def test_hosts_that_are_hosts(host: bytes) -> None:
    """RFC 9110 section 7.2."""
    assert read([(b"Host", host)]).length == 0


@pytest.mark.parametrize(
    "host", [b"x?y", b"x/y", b"x#y", b"u@x", b"a b", b"x:y", b"[::1", b"x:999999", b"x\x80", b"a,b c"]
)
def test_hosts_that_are_none(host: bytes) -> None:
    """Refused, closed."""
    with pytest.raises(GatewayError) as refused:
        read([(b"Host", host)])
    assert refused.value.close


def test_spellings_of_unknown_names_are_not_hoarded() -> None:
    """What is remembered of the names that callers send stays small in bytes, not in number alone."""
    from gateway.dataplane.http import head as module

    for number in range(5000):
        read([(b"Host", b"h"), (b"X-%d-" % number + b"a" * 5000, b"1")])
    assert sum(len(name) for name in module._KNOWN_SPELLINGS) < 1_000_000
