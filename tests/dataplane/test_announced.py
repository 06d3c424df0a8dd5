"""A retiring alias over the wire: its three fields on every reply, a 410 when it is switched off, and no word elsewhere."""

import contextlib
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

import http_sf
import pytest
from msgspec.structs import replace

from tests.dataplane.raw import Reply, ask, expect_problem, request, until_answered
from tests.dataplane.upstream import Talk, Upstream
from tests.gateway_process import APP, PINNER, READER, STRANGER, Gateway, alias_entry, document, running

pytestmark = pytest.mark.slow

NOW = float(int(time.time()))
SUNSET = NOW + 30 * 86_400
FIELDS = ("Deprecation", "Sunset", "Link")
LINK = (
    '<https://wiki.example/m>; rel="deprecation"; type="text/html", '
    '<https://wiki.example/m>; rel="sunset"; type="text/html", '
    '</v2/models/a>; rel="successor-version"'
)


@pytest.fixture(scope="module")
def retiring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Upstream]]:
    """Aliases in each stage of their end, on the same version as `a`, which does not retire."""
    from gateway.snapshot.document import DeprecationEntry, VersionDeprecation

    announced = DeprecationEntry(NOW - 3600, SUNSET, "a", "https://wiki.example/m")
    stages = {
        "old": announced,
        "dim": replace(announced, brownouts=((NOW - 60, NOW + 7200),)),
        "over": replace(announced, sunset_at=NOW - 60),
        "gone": replace(announced, sunset_at=NOW - 60, after_sunset="gone"),
        "old-unloaded": announced,
        "old-hidden": announced,
    }
    upstream = Upstream()
    found = document(upstream.url)
    entries = [
        replace(
            alias_entry(
                name,
                ("m", 3 if name == "old-unloaded" else 1, 10_000),
                team="secret" if name == "old-hidden" else "vision",
            ),
            deprecation=stage,
        )
        for name, stage in stages.items()
    ]
    model = replace(
        found.models[0], deprecations=(VersionDeprecation(2, replace(announced, sunset_at=NOW + 99)),)
    )
    found = replace(found, aliases=(*found.aliases, *entries), models=(model,))
    with (
        contextlib.closing(upstream),
        running(tmp_path_factory.mktemp("retiring"), found, INFERENCE__MAX_BODY_BYTES=1_000_000) as gateway,
    ):
        until_answered(gateway.address)
        yield gateway, upstream
        assert not upstream.errors


def call(gateway: Gateway, alias: str, rest: str = "infer", **options: Any) -> Reply:
    """One call of an alias."""
    return ask(gateway.address, request(f"/v2/models/{alias}{rest and '/' + rest}", **options))


def key(text: str) -> bytes:
    """A credential."""
    return f"X-API-Key: {text}\r\n".encode()


def told(reply: Reply) -> list[str | None]:
    """The three fields."""
    return [reply.header(name) for name in FIELDS]


def test_the_fields_read_as_their_standards_say(retiring: tuple[Gateway, Upstream]) -> None:
    """Deprecation is a structured-field Date (RFC 9745), Sunset an HTTP date (RFC 8594), Link names the relations."""
    deprecation, sunset, link = told(call(retiring[0], "old"))
    parsed: Any = http_sf.parse((deprecation or "").encode(), tltype="item")
    assert parsed == (datetime.fromtimestamp(NOW - 3600, UTC), {})
    assert parsedate_to_datetime(sunset or "").timestamp() == SUNSET
    assert link == LINK


@pytest.mark.parametrize(
    ("behave", "status"),
    [
        (Talk.answer, 200),
        (lambda talk: talk.answer(400, b'{"error":"no"}'), 400),
        (lambda talk: talk.answer(500, b'{"error":"no"}'), 500),
        (lambda talk: talk.take_then_send(b"garbage\r\n\r\n"), 502),
        (
            lambda talk: talk.take_then_send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            ),
            200,
        ),
    ],
)
def test_whatever_comes_of_a_call_it_tells(
    retiring: tuple[Gateway, Upstream], behave: Callable[[Talk], object], status: int
) -> None:
    """The model's answers and refusals, streams, and the gateway's own errors."""
    gateway, upstream = retiring
    upstream.renew()
    upstream.behave = behave
    reply = call(gateway, "old")
    assert reply.status == status
    assert all(told(reply))


def test_refusals_and_pages_of_the_alias_tell_too(retiring: tuple[Gateway, Upstream]) -> None:
    """Metadata, readiness, a version that is not live, one that is not loaded, a body that may not pass, no right to call."""
    gateway, upstream = retiring
    upstream.renew()
    region = b'{"inputs":[{"name":"x","parameters":{"shared_memory_region":"r"}}]}'
    replies = {
        "metadata": (200, call(gateway, "old", "", method="GET", body=b"")),
        "ready": (200, call(gateway, "old", "ready", method="GET", body=b"")),
        "version": (404, call(gateway, "old", "versions/2/infer")),
        "loaded": (503, call(gateway, "old-unloaded")),
        "region": (400, call(gateway, "old", body=region)),
        "right": (403, call(gateway, "old", credential=key(READER))),
    }
    assert {what: reply.status for what, (_, reply) in replies.items()} == {
        what: status for what, (status, _) in replies.items()
    }
    assert {what for what, (_, reply) in replies.items() if not all(told(reply))} == set()


def test_nobody_else_hears_of_it(retiring: tuple[Gateway, Upstream]) -> None:
    """Not another alias on the same version, not who may not see the alias: to them it does not exist, in the same words."""
    gateway, upstream = retiring
    upstream.renew()
    assert told(call(gateway, "a")) == [None] * 3
    assert told(call(gateway, "old", credential=b"")) == [None] * 3
    unseen = [
        call(gateway, "old", credential=key(STRANGER)),
        call(gateway, "old-hidden"),
        call(gateway, "no-such-alias"),
    ]
    assert [told(reply) for reply in unseen] == [[None] * 3] * 3
    words = {
        expect_problem(reply, 404).replace(name, "ALIAS")
        for reply, name in zip(unseen, ("old", "old-hidden", "no-such-alias"), strict=True)
    }
    assert len(words) == 1


def test_the_servers_own_link_passes_and_its_end_is_not_the_alias(
    retiring: tuple[Gateway, Upstream],
) -> None:
    """A Link of the model's server stands beside the gateway's; what the server says of its own end is not passed on."""
    gateway, upstream = retiring
    upstream.renew()
    upstream.behave = lambda talk: talk.answer(
        headers=(
            b'Link: </docs>; rel="help"',
            b"Deprecation: @1",
            b"Sunset: Sun, 30 Jun 2024 23:59:59 GMT",
        )
    )
    for alias, links in (("old", ['</docs>; rel="help"', LINK]), ("a", ['</docs>; rel="help"'])):
        reply = call(gateway, alias)
        assert [value for name, value in reply.headers if name == "Link"] == links
        own = [f"@{NOW - 3600:.0f}", format_datetime(datetime.fromtimestamp(SUNSET, UTC), usegmt=True)]
        expected = own if alias == "old" else [None, None]
        assert [reply.header("Deprecation"), reply.header("Sunset")] == expected


def test_a_brownout_is_a_410_that_passes(retiring: tuple[Gateway, Upstream]) -> None:
    """It names the successor and the end of the spell, and the model hears nothing of the call."""
    gateway, upstream = retiring
    upstream.renew()
    for rest, options in (("infer", {}), ("", {"method": "GET", "body": b""})):
        reply = call(gateway, "dim", rest, **options)
        assert "call a instead" in expect_problem(reply, 410)
        assert 7100 - (time.time() - NOW) <= int(reply.header("Retry-After") or 0) <= 7200
        assert all(told(reply))
        document = json.loads(reply.body)
        assert document["type"] == "urn:maas:problem:brownout"
        assert (document["alias"], document["successor"]) == ("dim", "a")
        assert datetime.fromisoformat(document["until"]).timestamp() == NOW + 7200
    assert not upstream.talks


def test_after_the_sunset_it_is_as_announced(retiring: tuple[Gateway, Upstream]) -> None:
    """Gone, with the way on and no hope of a retry; or still there, with the fields."""
    gateway, upstream = retiring
    upstream.renew()
    reply = call(gateway, "gone")
    assert "Alias gone has been retired; call a instead" in expect_problem(reply, 410)
    assert reply.header("Retry-After") is None
    assert all(told(reply))
    document = json.loads(reply.body)
    assert document["type"] == "urn:maas:problem:retired"
    assert datetime.fromisoformat(document["sunset"]).timestamp() == NOW - 60
    assert not upstream.talks
    over = call(gateway, "over")
    assert over.status == 200
    assert all(told(over))


def test_a_retiring_version_tells_who_names_it(retiring: tuple[Gateway, Upstream]) -> None:
    """On the pinned path alone: an alias that sends traffic there says nothing, and another version neither."""
    gateway, upstream = retiring
    upstream.renew()
    pinned = call(gateway, "a", "versions/2/infer", credential=key(PINNER))
    assert parsedate_to_datetime(pinned.header("Sunset") or "").timestamp() == NOW + 99
    assert told(call(gateway, "a", "versions/1/infer", credential=key(PINNER))) == [None] * 3
    routed = [
        call(gateway, "split", headers=b"Maas-Routing-Key: %d\r\n" % number, credential=key(APP))
        for number in range(20)
    ]
    assert {reply.header("Maas-Served-By") for reply in routed} == {"m/1", "m/2"}
    assert [told(reply) for reply in routed] == [[None] * 3] * 20


def test_the_metrics_have_sunsets_and_what_still_calls(retiring: tuple[Gateway, Upstream]) -> None:
    """The moment of each retiring alias, and the inferences that were told of an end."""
    gateway, upstream = retiring
    upstream.renew()
    before = metric(gateway, 'maas_deprecated_requests_total{alias="old",model="",version=""}')
    call(gateway, "old")
    call(gateway, "old", "", method="GET", body=b"")
    after = metric(gateway, 'maas_deprecated_requests_total{alias="old",model="",version=""}')
    assert after - before == 1
    assert metric(gateway, 'maas_alias_sunset_timestamp_seconds{alias="old"}') == SUNSET
    assert metric(gateway, 'maas_alias_sunset_timestamp_seconds{alias="a"}') == 0


def metric(gateway: Gateway, series: str) -> float:
    """The value of one series; 0 where it does not stand."""
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.ops_port}/metrics") as reply:
        for line in reply.read().decode().splitlines():
            if line.startswith(series + " "):
                return float(line.rpartition(" ")[2])
    return 0.0
