"""Who calls: one credential, in the same words whatever is wrong with it; forged fields are stripped."""

import pytest

from tests.dataplane.raw import ask, expect_problem, request
from tests.dataplane.upstream import Upstream
from tests.gateway_process import APP, EXPIRED, Gateway

pytestmark = pytest.mark.slow

KEY = APP.encode()


@pytest.mark.parametrize(
    "credential",
    [
        b"Authorization: Bearer " + KEY + b"\r\n",
        b"authorization: bearer " + KEY + b"\r\n",
        b"AUTHORIZATION: BEARER  " + KEY + b" \r\n",
        b"X-API-Key: " + KEY + b"\r\n",
        b"x-api-key:" + KEY + b"\r\n",
    ],
)
def test_one_credential_is_enough(gateway: Gateway, upstream: Upstream, credential: bytes) -> None:
    """Either field, any case of name and scheme; and the credential stays with the gateway."""
    assert ask(gateway.address, request(credential=credential)).status == 200
    assert KEY not in upstream.talks[-1].head


@pytest.mark.parametrize(
    "credential",
    [
        pytest.param(b"", id="none"),
        pytest.param(b"X-API-Key: " + KEY + b"\r\nAuthorization: Bearer " + KEY + b"\r\n", id="one of each"),
        pytest.param(b"X-API-Key: " + KEY + b"\r\nX-API-Key: " + KEY + b"\r\n", id="two keys"),
        pytest.param((b"Authorization: Bearer " + KEY + b"\r\n") * 2, id="two bearers"),
        pytest.param(b"X-API-Key: " + KEY + b"\r\nAuthorization: Basic eDp5\r\n", id="a key and basic"),
        pytest.param(b"Authorization: Basic " + KEY + b"\r\n", id="basic"),
        pytest.param(b"Authorization: " + KEY + b"\r\n", id="no scheme"),
        pytest.param(b"Authorization: Bearer\r\n", id="no token"),
        pytest.param(b"Authorization: Bearer " + KEY + b", x\r\n", id="a list"),
        pytest.param(b"X-API-Key: \r\n", id="empty key"),
        pytest.param(b"X-API-Key: " + KEY[:-1] + b"\r\n", id="cut"),
        pytest.param(b"X-API-Key: " + KEY.upper() + b"\r\n", id="another case"),
        pytest.param(b"X-API-Key: " + b"a" * 60_000 + b"\r\n", id="60 KB"),
        pytest.param(b"X-API-Key: \xff\xfe\r\n", id="not ASCII"),
        pytest.param(b"X-API-Key: " + EXPIRED.encode() + b"\r\n", id="expired"),
        pytest.param(
            b"Authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhcHA6Y2FsbGVyIn0.\r\n", id="alg none"
        ),
    ],
)
def test_anything_but_one_good_credential_is_refused(
    gateway: Gateway, upstream: Upstream, credential: bytes
) -> None:
    """401 with a challenge, and nothing reaches the upstream."""
    reply = ask(gateway.address, request(credential=credential))
    detail = expect_problem(reply, 401)
    assert (reply.header("WWW-Authenticate") or "").startswith("Bearer")
    assert APP not in detail
    assert not upstream.talks


def test_wrong_and_expired_keys_are_refused_in_the_same_words(gateway: Gateway) -> None:
    """Nobody learns whether a key was ever good."""
    details = {
        expect_problem(ask(gateway.address, request(credential=b"X-API-Key: " + key + b"\r\n")), 401)
        for key in (EXPIRED.encode(), b"never seen", b"maas_AAAAAAAA_" + b"a" * 49)
    }
    assert len(details) == 1


def test_no_alias_is_named_to_who_has_no_key(gateway: Gateway) -> None:
    """401 comes before 404, 403 and 503."""
    for path in ("/v2/models/a/infer", "/v2/models/nosuch/infer", "/v2/models/unloaded/infer"):
        expect_problem(ask(gateway.address, request(path, credential=b"")), 401)


def test_fields_that_pretend_are_stripped(gateway: Gateway, upstream: Upstream) -> None:
    """What only a proxy or the gateway may say does not pass; what an application says does."""
    forged = {
        b"X-Forwarded-For": b"1.2.3.4",
        b"x-forwarded-user": b"admin",
        b"Forwarded": b"for=1.2.3.4",
        b"X-Real-IP": b"1.2.3.4",
        b"Via": b"1.1 x",
        b"X-Tenant-Id": b"other",
        b"Tenant": b"other",
        b"tenant-id": b"other",
        b"maas_principal": b"user:admin",
        b"Maas-Principal": b"user:admin",
        b"MAAS-Served-By": b"m/9",
        b"X-Maas-Team": b"vision",
        b"Cookie": b"a=b",
        b"Proxy-Authorization": b"Basic x",
    }
    kept = {
        b"Accept": b"*/*",
        b"X-Application": b"shop",
        b"Triton-Anything": b"1",
        b"Accept-Encoding": b"gzip",
    }
    fields = b"".join(b"%b: %b\r\n" % pair for pair in (forged | kept).items())
    reply = ask(gateway.address, request(headers=fields))
    assert (reply.status, reply.header("Maas-Served-By")) == (200, "m/1")
    arrived = dict(upstream.talks[-1].fields)
    assert {name.lower() for name in arrived}.isdisjoint(name.lower() for name in forged)
    assert kept.items() <= arrived.items()


def test_the_upstream_cannot_speak_for_the_gateway(gateway: Gateway, upstream: Upstream) -> None:
    """`Maas-Served-By` and `X-Request-Id` are the gateway's own, once each."""
    upstream.behave = lambda talk: talk.answer(headers=[b"maas-served-by: m/9", b"X-Request-ID: forged"])
    reply = ask(gateway.address, request(headers=b"X-Request-Id: mine-1\r\n"))
    assert reply.header("Maas-Served-By") == "m/1"
    assert reply.header("X-Request-Id") == "mine-1"
    assert (b"X-Request-Id", b"mine-1") in upstream.talks[-1].fields


@pytest.mark.parametrize("value", [b"a b", b"<script>", b"a" * 200, b"", b"\xff"])
def test_request_ids_of_no_use_are_replaced(gateway: Gateway, value: bytes) -> None:
    """An id that could hurt a log or a page is not taken over."""
    reply = ask(gateway.address, request(headers=b"X-Request-Id: " + value + b"\r\n"))
    found = reply.header("X-Request-Id") or ""
    assert len(found) == 32
    assert set(found) <= set("0123456789abcdef")
