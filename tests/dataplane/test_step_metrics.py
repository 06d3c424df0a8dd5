"""Every step counts what it decided, under labels that no caller chooses."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.dataplane.raw import RawClient, ask, request, until_answered
from tests.dataplane.upstream import Talk, Upstream
from tests.gateway_process import APP, EXPIRED, PINNER, READER, STRANGER, Gateway, document, running, wait_for

pytestmark = pytest.mark.slow


def scraped(gateway: Gateway) -> dict[str, float]:
    """Every sample, as `name{label=value}`."""
    text = httpx.get(f"http://127.0.0.1:{gateway.ops_port}/metrics", timeout=60).text
    return {
        sample.name + "{" + ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items())) + "}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }  # fmt: skip


@contextlib.contextmanager
def rising(gateway: Gateway, *names: str) -> Iterator[Callable[[], dict[str, float]]]:
    """By how much the samples of these names rise within the block; those that stay are left out."""
    before = scraped(gateway)

    def risen() -> dict[str, float]:
        return {
            name.replace("{}", ""): value - before.get(name, 0.0)
            for name, value in scraped(gateway).items()
            if name.partition("{")[0] in names and value != before.get(name, 0.0)
        }

    yield risen


def key(text: str) -> bytes:
    """A credential."""
    return f"X-API-Key: {text}\r\n".encode()


def test_credentials_are_counted_by_what_became_of_them(gateway: Gateway) -> None:
    """Each way to fail by its name, so that a rotation gone wrong is told from an attack."""
    with rising(gateway, "maas_authentications_total") as risen:
        for credential in (
            key(APP), key(APP), b"", key(APP) * 2, b"Authorization: Basic x\r\n", key("nobody"), key(EXPIRED),
        ):  # fmt: skip
            ask(gateway.address, request(credential=credential))
        assert risen() == {
            "maas_authentications_total{outcome=key}": 2,
            "maas_authentications_total{outcome=none}": 1,
            "maas_authentications_total{outcome=several}": 1,
            "maas_authentications_total{outcome=malformed}": 1,
            "maas_authentications_total{outcome=unknown}": 1,
            "maas_authentications_total{outcome=expired}": 1,
        }


def test_the_policys_answers_are_counted(gateway: Gateway) -> None:
    """Also those that were remembered, which were no decisions."""
    ask(gateway.address, request())
    with rising(gateway, "maas_authorizations_total", "maas_policy_decisions_total") as risen:
        for credential in (APP, APP, STRANGER, READER):
            ask(gateway.address, request(credential=key(credential)))
        assert risen() == {
            "maas_authorizations_total{outcome=allowed}": 2,
            "maas_authorizations_total{outcome=not_found}": 1,
            "maas_authorizations_total{outcome=forbidden}": 1,
            "maas_policy_decisions_total": 2,
        }


def test_targets_are_counted_by_how_they_were_chosen(gateway: Gateway) -> None:
    """A split that is not what it should be shows by which keys it was made."""
    with rising(gateway, "maas_resolutions_total") as risen:
        ask(gateway.address, request())
        ask(gateway.address, request("/v2/models/split/infer"))
        ask(gateway.address, request("/v2/models/split/infer", headers=b"Maas-Routing-Key: u\r\n"))
        ask(gateway.address, request("/v2/models/spread/infer"))
        ask(gateway.address, request("/v2/models/a/versions/2/infer", credential=key(PINNER)))
        ask(gateway.address, request("/v2/models/a/versions/2/infer"))
        by = ("only", "principal", "routing_key", "request_id", "pinned", "not_live")
        assert risen() == {f"maas_resolutions_total{{by={each}}}": 1 for each in by}


def test_connections_are_counted_where_they_are_opened_and_used_again(tmp_path: Path) -> None:
    """A pool that opens one for each call has a keep-alive that does not hold."""
    upstream = Upstream()
    with running(tmp_path, document(upstream.url)) as gateway:
        until_answered(gateway.address)
        labels = f"{{endpoint={upstream.url},pool=main}}"
        opened, reused = (f"maas_upstream_connections_{what}_total" for what in ("opened", "reused"))
        with rising(gateway, opened, reused) as risen:
            for _ in range(3):
                ask(gateway.address, request())
            assert risen() == {reused + labels: 3}
        upstream.behave = lambda talk: talk.answer(headers=[b"Connection: close"])
        ask(gateway.address, request())
        with rising(gateway, opened, reused) as risen:
            for _ in range(3):
                ask(gateway.address, request())
            assert risen() == {opened + labels: 3}
    upstream.close()


def test_what_goes_to_another_endpoint_is_counted(tmp_path: Path) -> None:
    """By why the first one had computed nothing."""
    first, second = Upstream(), Upstream()
    missing = b'{"error":"Request for unknown model: \'m\' is not found"}'
    calls: list[Talk] = []

    def behave(talk: Talk) -> None:
        calls.append(talk)
        talk.answer(400, missing) if len(calls) == 1 else talk.answer()

    first.behave = second.behave = behave
    with running(tmp_path, document(first.url, second.url), UPSTREAM__PROBE_INTERVAL_S=30) as gateway:
        wait_for(lambda: gateway.log.count("is ready") == 2, 10, "both endpoints")
        with rising(gateway, "maas_upstream_retries_total") as risen:
            assert ask(gateway.address, request()).status == 200
            assert risen() == {"maas_upstream_retries_total{reason=not_loaded}": 1}
    first.close()
    second.close()


def test_deadlines_are_counted_by_how_far_the_call_had_come(tmp_path: Path) -> None:
    """A server that takes nothing, one that computes for too long, and one that stops within its reply."""
    upstream = Upstream()
    with running(tmp_path, document(upstream.url), INFERENCE__DEADLINE_S=2) as gateway:
        until_answered(gateway.address)

        def stops(talk: Talk) -> None:
            talk.take_then_send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
            talk.until_closed()

        with rising(gateway, "maas_deadlines_exceeded_total") as risen:
            upstream.behave = Talk.take_then_hang
            assert ask(gateway.address, request()).status == 504
            upstream.behave = stops
            with RawClient(gateway.address) as client:
                client.send(request())
                assert client.head()[0] == 200
                assert client.read(1) == b"{"
                assert client.ended()
            assert risen() == {
                "maas_deadlines_exceeded_total{stage=upstream}": 1,
                "maas_deadlines_exceeded_total{stage=reply}": 1,
            }
    upstream.close()


def test_bytes_and_the_first_byte_are_measured(gateway: Gateway, upstream: Upstream) -> None:
    """Of a reply that begins early and ends late, both moments; bytes both ways, by target."""
    upstream.behave = lambda talk: talk.take_then_send(
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"a"
    )
    labels = "{alias=a,arm=stable,model=m,protocol=http,version=1}"
    names = ("maas_request_bytes_total", "maas_reply_bytes_total", "maas_upstream_first_byte_seconds_sum",
             "maas_upstream_duration_seconds_sum", "maas_upstream_first_byte_seconds_count")  # fmt: skip
    with rising(gateway, *names) as risen, RawClient(gateway.address) as client:
        client.send(request(body=b"{      }"))
        assert client.head()[0] == 200
        assert client.read(1) == b"a"
        wait_for(lambda: upstream.talks, what="the call upstream")
        upstream.talks[-1].send(b"a" * 999)
        client.read(999)
        found = risen()
        assert found[names[0] + labels] == 8
        assert found[names[1] + labels] == 1000
        assert found[names[4] + labels] == 1
        assert 0 < found[names[2] + labels] < found[names[3] + labels]


def test_questions_about_a_model_are_counted_by_themselves(gateway: Gateway) -> None:
    """By what was asked and what became of it; those that reach no target under no alias, as inferences are."""
    names = ("maas_reads_total", "maas_requests_total", "maas_request_duration_seconds_count")
    with rising(gateway, *names) as risen:
        for suffix in ("", "/ready", "/config", "/stats"):
            ask(gateway.address, request("/v2/models/a" + suffix, method="GET"))
        ask(gateway.address, request("/v2/models/a/ready", method="GET", credential=b""))
        ask(gateway.address, request("/v1/models", method="GET"))
        target = "alias=a,arm=stable,model=m,operation={},outcome=ok,protocol=http,version=1"
        nowhere = "alias=,arm=,model=,operation={},outcome={},protocol={},version="
        assert risen() == {
            **{
                f"maas_reads_total{{{target.format(operation)}}}": 1
                for operation in ("metadata", "ready", "config", "stats")
            },
            f"maas_reads_total{{{nowhere.format('ready', 'unauthenticated', 'http')}}}": 1,
            f"maas_reads_total{{{nowhere.format('metadata', 'ok', 'openai')}}}": 1,
        }


def test_the_process_tells_of_itself(gateway: Gateway) -> None:
    """Its release, how late its event loop is, and how much it logs."""
    found = scraped(gateway)
    assert [value for name, value in found.items() if name.startswith("maas_build_info")] == [1.0]
    assert found["maas_event_loop_delay_seconds_count{}"] > 0
    assert found["maas_log_events_total{level=info}"] > 0


def test_labels_have_values_that_no_caller_chooses(gateway: Gateway) -> None:
    """Whatever is asked for, no new series appears; what callers name themselves stands in no label."""

    def names() -> set[str]:
        return {name for name in scraped(gateway) if name.startswith("maas_")}

    asked = [
        request("/v2/models/nobody-{n}/infer"), request("/nosuch/{n}"), request(credential=key("key-{n}")),
        request("/v2/models/a/versions/7{n}/infer"), request(headers=b"X-Request-Id: id-{n}\r\nMaas-Routing-Key: k-{n}\r\n"),
    ]  # fmt: skip
    for data in asked:
        ask(gateway.address, data.replace(b"{n}", b"0"))
    before = names()
    for number in range(1, 20):
        for data in asked:
            ask(gateway.address, data.replace(b"{n}", b"%d" % number))
    assert names() == before
