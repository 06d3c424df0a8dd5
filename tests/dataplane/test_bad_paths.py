"""Bad input: paths, names, versions, admin calls. Sent as raw bytes, since clients tidy paths up before they send them."""

import pytest

from tests.dataplane.raw import CREDENTIAL, RawClient, ask, chunked, expect_problem, request
from tests.dataplane.upstream import Upstream
from tests.gateway_process import PINNER, READER, STRANGER, Gateway

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/..%2f..%2fadmin/infer",
        "/v2/models/%252f/infer",
        "/v2/models/a%00/infer",
        "/v2/models/a%0d%0aX:/infer",
        "/v2/models/%61/infer",
        "/v2/models/a/%69nfer",
        "/%76%32/models/a/infer",
        "/v2/models/a/versions/%31/infer",
        "/v2/repository%2findex",
    ],
)
def test_percent_escapes_in_paths_are_refused(gateway: Gateway, upstream: Upstream, path: str) -> None:
    """No name needs an escape: 400, and nothing reaches the upstream."""
    expect_problem(ask(gateway.address, request(path)), 400)
    assert not upstream.talks


@pytest.mark.parametrize(
    "path",
    [
        "//v2/models/a/infer",
        "/./v2/models/a/infer",
        "/v2/./models/a/infer",
        "/v2/models/a/../a/infer",
        "/v2/models/../repository/index",
        "/v2/models/a;x/infer",
        "/v2/models/a/infer;x",
        "/v2/models/a//infer",
        "/v2/models/a/infer/",
        "/V2/models/a/infer",
        "/v2/Models/a/infer",
        "/v2/models/a/Infer",
        "/v2/models/A/infer",
        "/v2/models//infer",
        "/v2/models/-a/infer",
        "/v2/models/_a/infer",
        "/v2/models/.a/infer",
        "/v2/models/" + "a" * 129 + "/infer",
        "/v2/models/a\\b/infer",
        "/v2/models/a/versions",
        "/v2/models/a/versions/1/versions/1/infer",
        "/v2/models/a/metadata",
        "/v2/models",
        "/v2/",
        "/",
        "/metrics",
        "/api/v1/aliases",
    ],
)
def test_other_spellings_of_a_path_are_not_found(gateway: Gateway, upstream: Upstream, path: str) -> None:
    """Paths are matched byte for byte: 404, no redirect, nothing reaches the upstream."""
    reply = ask(gateway.address, request(path))
    expect_problem(reply, 404)
    assert reply.header("Location") is None
    assert not upstream.talks


@pytest.mark.parametrize(
    "raw", [b"/v2/models/\xff/infer", b"/v2/models/\xc3\xa4/infer", b"/v2/models/a/inf\x80r"]
)
def test_bytes_above_ascii_in_paths_are_the_callers_fault(
    gateway: Gateway, upstream: Upstream, raw: bytes
) -> None:
    """400 or 404, never a failure of the gateway's own."""
    data = b"POST " + raw + b" HTTP/1.1\r\nHost: g\r\n" + CREDENTIAL + b"Content-Length: 2\r\n\r\n{}"
    reply = ask(gateway.address, data)
    assert reply.status in (400, 404), reply.body
    expect_problem(reply, reply.status)
    assert not upstream.talks


@pytest.mark.parametrize(
    "version", ["1abc", "-1", "01", "0", "+1", "1.0", "", "1e3", str(2**64), str(2**63), "9" * 400]
)
def test_versions_that_are_no_version_are_refused(gateway: Gateway, upstream: Upstream, version: str) -> None:
    """Triton would read `1abc` as 1; here it is 400."""
    expect_problem(ask(gateway.address, request(f"/v2/models/a/versions/{version}/infer")), 400)
    assert not upstream.talks


def test_a_version_that_is_no_live_target_is_not_found(gateway: Gateway, upstream: Upstream) -> None:
    """404 for who may not pin, though the model has that version."""
    expect_problem(ask(gateway.address, request("/v2/models/a/versions/2/infer")), 404)
    expect_problem(ask(gateway.address, request("/v2/models/a/versions/7/infer")), 404)
    assert not upstream.talks


def test_a_live_version_may_be_named_by_anyone(gateway: Gateway) -> None:
    """The version of a live target is allowed, and is the one that answers."""
    for version in (1, 2):
        reply = ask(gateway.address, request(f"/v2/models/split/versions/{version}/infer"))
        assert (reply.status, reply.header("Maas-Served-By")) == (200, f"m/{version}")


def test_who_may_pin_reaches_any_registered_version(gateway: Gateway, upstream: Upstream) -> None:
    """Pinning goes beyond the live targets, and no further than what is registered."""
    key = f"X-API-Key: {PINNER}\r\n".encode()
    reply = ask(gateway.address, request("/v2/models/a/versions/2/infer", credential=key))
    assert (reply.status, reply.header("Maas-Served-By")) == (200, "m/2")
    assert upstream.talks[-1].path == b"/v2/models/m/versions/2/infer"
    expect_problem(ask(gateway.address, request("/v2/models/a/versions/7/infer", credential=key)), 404)


def test_a_version_that_is_not_loaded_is_never_replaced(gateway: Gateway, upstream: Upstream) -> None:
    """503 with Retry-After, for the alias and for the pinned path alike; no other version is asked."""
    for path in ("/v2/models/unloaded/infer", "/v2/models/unloaded/versions/3/infer"):
        expect_problem(ask(gateway.address, request(path)), 503)
    assert not upstream.talks


def test_unknown_and_invisible_aliases_look_the_same(gateway: Gateway, upstream: Upstream) -> None:
    """The same 404 in the same words, whether the alias does not exist or belongs to others."""
    details = {
        expect_problem(ask(gateway.address, request(f"/v2/models/{alias}/infer")), 404).replace(alias, "X")
        for alias in ("hidden", "nosuch")
    }
    stranger = f"X-API-Key: {STRANGER}\r\n".encode()
    details |= {
        expect_problem(
            ask(gateway.address, request(f"/v2/models/{alias}/infer", credential=stranger)), 404
        ).replace(f"'{alias}'", "'X'")
        for alias in ("a", "nosuch")
    }
    assert len(details) == 1
    assert not upstream.talks


def test_who_may_only_see_an_alias_is_forbidden_to_call_it(gateway: Gateway, upstream: Upstream) -> None:
    """403 stands only for who may see the alias."""
    reader = f"X-API-Key: {READER}\r\n".encode()
    expect_problem(ask(gateway.address, request(credential=reader)), 403)
    assert not upstream.talks
    upstream.behave = lambda talk: talk.answer(body=b'{"name":"m","versions":["1","2"],"platform":"x"}')
    reply = ask(gateway.address, request("/v2/models/a", method="GET", credential=reader))
    assert (reply.status, reply.body) == (200, b'{"name":"a","versions":["1"],"platform":"x"}')


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/repository/index"),
        ("POST", "/v2/repository/models/m/load"),
        ("POST", "/v2/repository/models/m/unload"),
        ("POST", "/v2/systemsharedmemory/region/r/register"),
        ("GET", "/v2/systemsharedmemory/status"),
        ("POST", "/v2/cudasharedmemory/unregister"),
        ("GET", "/v2/logging"),
        ("POST", "/v2/logging"),
        ("GET", "/v2/trace/setting"),
        ("POST", "/v2/models/a/trace/setting"),
        ("POST", "/v2/models/a/versions/1/trace/setting"),
        ("POST", "/v2/repository/index?x=1"),
    ],
)
def test_tritons_administration_is_closed(
    gateway: Gateway, upstream: Upstream, method: str, path: str
) -> None:
    """403 to everybody, and nothing reaches the upstream."""
    expect_problem(ask(gateway.address, request(path, method=method)), 403)
    assert not upstream.talks


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"])
def test_other_methods_are_refused(gateway: Gateway, upstream: Upstream, method: str) -> None:
    """405 on a path that takes POST alone, with the Allow field that RFC 9110 asks for (section 15.5.6)."""
    with RawClient(gateway.address) as client:
        client.send(request(method=method))
        status, headers = client.head()
    assert status == 405
    assert ("allow", "POST") in [(name.lower(), value) for name, value in headers]
    assert not upstream.talks


@pytest.mark.parametrize("target", ["*", "gateway:80", "v2/models/a/infer", "?x", "#x"])
def test_targets_that_are_no_path_are_refused(gateway: Gateway, upstream: Upstream, target: str) -> None:
    """400."""
    expect_problem(ask(gateway.address, request(target)), 400)
    assert not upstream.talks


@pytest.mark.parametrize(
    "key",
    [
        b'"shared_memory_region"',
        b'"\\u0073hared_memory_region"',
        b'"shared\\u005Fmemory\\u005fregion"',
        b'"shared_memory_region" \r\n\t',
    ],
)
@pytest.mark.parametrize("framing", ["length", "chunked", "dripped"])
def test_shared_memory_regions_are_refused(
    gateway: Gateway, upstream: Upstream, key: bytes, framing: str
) -> None:
    """A region named in an infer body is 400, however its key is spelled and however the body arrives."""
    body = b'{"inputs":[{"name":"x","parameters":{' + key + b':"r","shared_memory_byte_size":4}}]}'
    with RawClient(gateway.address) as client:
        if framing == "length":
            client.send(request(body=body))
        elif framing == "chunked":
            pieces = [body[i : i + 1] for i in range(len(body))]
            client.send(
                request(body=chunked(*pieces), headers=b"Transfer-Encoding: chunked\r\n", length=False)
            )
        else:
            client.send(request(body=body)[: -len(body)])
            for i in range(0, len(body), 16):
                client.send(body[i : i + 16])
        expect_problem(client.reply(), 400)
    # What had passed before the key came is no whole request.
    assert not [talk for talk in upstream.talks if talk.body]


@pytest.mark.parametrize("path", [b"/v2", b"/v2/health/live", b"/v2/health/ready"])
def test_the_servers_own_pages_answer_head(gateway: Gateway, path: bytes) -> None:
    """A load balancer may ask with HEAD: the head of GET's reply, without its body, and the connection goes on."""
    got = ask(gateway.address, b"GET " + path + b" HTTP/1.1\r\nHost: gateway\r\n\r\n")
    with RawClient(gateway.address) as client:
        client.send(b"HEAD " + path + b" HTTP/1.1\r\nHost: gateway\r\nX-Request-Id: one\r\n\r\n")
        client.send(b"GET /v2/health/live HTTP/1.1\r\nHost: gateway\r\nX-Request-Id: two\r\n\r\n")
        heads = client.sock.recv(65536)
        while heads.count(b"\r\n\r\n") < 2:
            heads += client.sock.recv(65536)
    first, second = heads.split(b"\r\n\r\n")[:2]
    assert first.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Length: %d" % len(got.body) in first
    assert b"X-Request-Id: two" in second
