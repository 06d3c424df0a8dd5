"""Endpoint URLs: one host and port, and never a metadata service in any spelling."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.snapshot.endpoints import endpoint_problem, grpc_address, grpc_problem, split_endpoint


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://triton:8000", ("triton", 8000)),
        ("http://triton-0.triton.svc.cluster.local:8000/", ("triton-0.triton.svc.cluster.local", 8000)),
        ("http://127.0.0.1:8000", ("127.0.0.1", 8000)),
        ("http://10.1.2.3", ("10.1.2.3", 80)),
        ("http://[::1]:8000", ("::1", 8000)),
        ("http://[2001:db8::1]:8000", ("2001:db8::1", 8000)),
        ("HTTP://Triton:8000", ("triton", 8000)),
    ],
)
def test_hosts_and_addresses_are_endpoints(url: str, address: tuple[str, int]) -> None:
    """What an operator writes."""
    assert endpoint_problem(url) is None
    assert split_endpoint(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "triton:8000",
        "//triton:8000",
        "https://triton:8000",
        "file:///etc/passwd",
        "ftp://triton",
        "gopher://triton",
        "grpc://triton:8001",
        "http://",
        "http://:8000",
        "http:///x",
        "http://u@triton:8000",
        "http://u:p@triton:8000",
        "http://triton:8000@169.254.169.254",
        "http://triton:8000/v2",
        "http://triton:8000/..",
        "http://triton:8000?x",
        "http://triton:8000/?x",
        "http://triton:8000#x",
        "http://triton:0",
        "http://triton:65536",
        "http://triton:x",
        "http://triton:-1",
        "http://tri ton:8000",
        "http://triton:8000\n",
        " http://triton:8000",
        "http://trit\u00f6n:8000",
        "http://\uff11\uff16\uff19.254.169.254",
        "http://triton\\@169.254.169.254",
        "http://tri%74on:8000",
        "http://-triton:8000",
        "http://a..b:8000",
        "http://" + "a" * 64 + ":8000",
        "http://[::1",
        "http://[v1.x]:8000",
        "http://[127.0.0.1]:8000",
    ],
)
def test_anything_else_is_none(url: str) -> None:
    """With a reason."""
    assert endpoint_problem(url)


METADATA = ["169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16"]


def spellings(address: str) -> list[str]:
    """Ways to write an IPv4 address that some resolver or socket library understands."""
    number = int(ipaddress.IPv4Address(address))
    a, b, c, d = address.split(".")
    high = f"{number >> 16:x}:{number & 0xFFFF:x}"
    return [
        address,
        f"{address}.",
        str(number),
        f"{number}.",
        hex(number),
        f"0X{number:X}",
        f"0{number:o}",
        ".".join(f"0{int(part):o}" for part in (a, b, c, d)),
        ".".join(hex(int(part)) for part in (a, b, c, d)),
        f"{a}.{b}.{(int(c) << 8) + int(d)}",
        f"{a}.{(int(b) << 16) + (int(c) << 8) + int(d)}",
        f"{a}.{b}.{c}.0x{int(d):x}",
        f"0{a}.{b}.{c}.{d}",
        f"[::ffff:{address}]",
        f"[::FFFF:{high}]",
        f"[0:0:0:0:0:ffff:{high}]",
        f"[::{address}]",
        f"[64:ff9b::{high}]",
        f"[2002:{high}::1]",
    ]


@pytest.mark.parametrize("host", [spelling for address in METADATA for spelling in spellings(address)])
def test_metadata_addresses_are_refused_in_every_spelling(host: str) -> None:
    """Decimal, octal, hexadecimal, shortened, mapped, compatible, NAT64 (RFC 6052) and 6to4 (RFC 3056)."""
    assert endpoint_problem(f"http://{host}")
    assert endpoint_problem(f"http://{host}:80")
    assert grpc_problem(f"grpc://{host}:80")


@pytest.mark.parametrize(
    "host",
    [
        "metadata",
        "METADATA",
        "metadata.google.internal",
        "metadata.google.internal.",
        "Metadata.Google.Internal",
        "metadata.goog",
        "instance-data",
        "[fd00:ec2::254]",
        "[FD00:EC2:0:0::254]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
        "0.0.0.0",
        "[::]",
        "[::ffff:0.0.0.0]",
        "224.0.0.1",
        "[ff02::1]",
        "255.255.255.255",
        "0",
        "0x0",
    ],
)
def test_other_hosts_that_no_pool_may_name(host: str) -> None:
    """Metadata services by name, link-local, unspecified and group addresses."""
    assert endpoint_problem(f"http://{host}:80")


@pytest.mark.parametrize(
    "url",
    ["http://triton:8001", "triton:8001", "grpc://triton", "grpc://u@triton:8001", "grpc://triton:8001/x"],
)
def test_a_grpc_address_is_one_host_and_port(url: str) -> None:
    """By the rules of endpoints."""
    assert grpc_problem("grpc://triton:8001") is None
    assert grpc_problem(url)


def test_an_endpoint_speaks_grpc_on_the_port_behind_unless_told() -> None:
    """Triton's own convention: 8000 and 8001."""
    assert grpc_address("http://triton:8000", None) == ("triton", 8001)
    assert grpc_address("http://[::1]:8000", "grpc://[::2]:9") == ("::2", 9)


@given(st.text(max_size=40))
def test_any_text_is_judged(text: str) -> None:
    """Never a failure; what has no problem can be split."""
    for url in (text, f"http://{text}", f"http://{text}:8000"):
        if endpoint_problem(url) is None:
            host, port = split_endpoint(url)
            assert host
            assert 1 <= port <= 65_535
