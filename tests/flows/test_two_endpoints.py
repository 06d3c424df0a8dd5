"""Two Triton servers in one pool: both are used, either may die, and a version is served from where it is loaded."""

import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.upstream.tritonserver import TritonServer
from tests.contract.harness import Gateway, Key, Operator, install, wait_until
from tests.flows.conftest import DIGITS, TEAM, Caller, Load, Outcome, Pair, start_triton
from tests.patience import in_time

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PROBED_WITHIN_S = 5.0
"""A probe a second, with room for a busy machine."""


class Two(NamedTuple):
    """The gateway, its app, and the two servers: `here` has `digits` 1 and 2, `there` 1 and 3 and `slow` 2."""

    gateway: Gateway
    app: Key
    here: TritonServer
    there: TritonServer


@pytest.fixture(scope="module")
def two(repositories: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    with (
        start_triton(repositories.here) as here,
        start_triton(repositories.there) as there,
        Gateway(install(tmp_path_factory.mktemp("two"))) as gateway,
        gateway.operator() as operator,
    ):
        operator.pool("pair", here.http_url, there.http_url)
        operator.model(DIGITS, team=TEAM, pool="pair")
        operator.model(repositories.there / "slow", team=TEAM, pool="pair")
        operator.model(repositories.here / "repeat", team=TEAM, pool="pair")
        for name, targets in (
            ("both", "digits@1"),
            ("only-here", "digits@2"),
            ("only-there", "digits@3"),
            ("slow", "slow@1"),
            ("slow-there", "slow@2"),
            ("repeat", "repeat@1"),
        ):
            operator.alias(name, targets, team=TEAM)
        operator.role("app:shop", "consumer", TEAM)
        found = Two(gateway, operator.key("app:shop"), here, there)
        wait_until(lambda: all_served(found), "everything is served from both servers", 20)
        yield found


def all_served(two: Two) -> bool:
    """Whether every alias answers, and both servers are known to be ready."""
    with two.gateway.caller(two.app) as http:
        names = ("both", "only-here", "only-there", "slow", "slow-there", "repeat")
        answered = all(http.get(f"/v2/models/{name}/ready").is_success for name in names)
    return answered and all(
        gauge(two, "maas_endpoint_ready", server) == 1 for server in (two.here, two.there)
    )


def gauge(two: Two, name: str, server: TritonServer) -> float:
    """What the gateway's metrics say of a server."""
    page = httpx.get(f"{two.gateway.control_url}/metrics", trust_env=False, timeout=60).text
    found = re.search(
        rf'^{name}\{{endpoint="{re.escape(server.http_url)}",pool="pair"\}} (\S+)$', page, re.MULTILINE
    )
    assert found, page
    return float(found[1])


def wait(milliseconds: int) -> bytes:
    """A request that takes its time."""
    delay = {"name": "delay_ms", "shape": [1], "datatype": "INT32", "data": [milliseconds]}
    return json.dumps({"inputs": [delay]}).encode()


def served(server: TritonServer, model: str, version: int = 1) -> int:
    """How many requests a server has answered for a version; 0 where it has none."""
    reply = httpx.get(
        f"{server.http_url}/v2/models/{model}/versions/{version}/stats", trust_env=False, timeout=60
    )
    if not reply.is_success:
        return 0
    return int(reply.json()["model_stats"][0]["inference_stats"]["success"]["count"])


def shares(two: Two, before: list[int], calls: int) -> list[int]:
    """How many of so many calls of `slow` each server has answered since `before`. Triton answers before it counts."""

    def since() -> list[int]:
        return [
            served(server, "slow") - then for server, then in zip((two.here, two.there), before, strict=True)
        ]

    wait_until(lambda: sum(since()) >= calls, "all calls to be counted")
    return since()


def call(two: Two, alias: str, body: bytes) -> Outcome:
    with Caller(two.gateway.inference, two.app) as caller:
        return caller.infer(alias, body)


def at_once(two: Two, alias: str, milliseconds: int, count: int) -> list[Outcome]:
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(lambda _: call(two, alias, wait(milliseconds)), range(count)))


def used(two: Two, server: TritonServer) -> bool:
    """Call a few times; whether this server answered any of it."""
    before = served(server, "digits")
    with Caller(two.gateway.inference, two.app) as caller:
        assert {caller.infer("both").status for _ in range(4)} == {200}
    return served(server, "digits") > before


def load(server: TritonServer, verb: str, model: str) -> None:
    """Load or unload a model on one server, as its operator does."""
    reply = httpx.post(f"{server.http_url}/v2/repository/models/{model}/{verb}", trust_env=False, timeout=30)
    assert reply.is_success, reply.text


def test_calls_at_once_are_shared_evenly(two: Two) -> None:
    """Eight calls under way at once: four on each server."""
    before = [served(server, "slow") for server in (two.here, two.there)]
    outcomes = at_once(two, "slow", 3_000, 8)
    assert {outcome.status for outcome in outcomes} == {200}
    assert shares(two, before, 8) == [4, 4]


def test_the_least_loaded_server_is_chosen(two: Two) -> None:
    """While one server is busy with what only it can do, all other calls go to the other one."""
    before = [served(server, "slow") for server in (two.here, two.there)]
    with ThreadPoolExecutor(4) as threads:
        busy = [threads.submit(call, two, "slow-there", wait(3_000)) for _ in range(4)]
        wait_until(lambda: gauge(two, "maas_endpoint_in_flight", two.there) == 4, "four calls are there")
        outcomes = at_once(two, "slow", 100, 4)
        assert not any(one.done() for one in busy)
        assert {one.result().status for one in busy} == {200}
    assert {outcome.status for outcome in outcomes} == {200}
    assert shares(two, before, 4) == [4, 0]


def test_a_version_is_served_from_where_it_is_loaded(two: Two) -> None:
    """A version that one server alone has is always served from there, and never replaced by another."""
    for alias, version, server in (("only-here", 2, two.here), ("only-there", 3, two.there)):
        before = served(server, "digits", version)
        with Caller(two.gateway.inference, two.app) as caller:
            outcomes = [caller.infer(alias) for _ in range(20)]
        assert {(one.status, one.served_by) for one in outcomes} == {(200, f"digits/{version}")}

        def counted(server: TritonServer = server, version: int = version, before: int = before) -> bool:
            return served(server, "digits", version) - before >= 20

        # Triton answers before it counts.
        wait_until(counted, "all calls to be counted")
        assert served(server, "digits", version) - before == 20


def test_a_version_that_is_unloaded_is_unavailable_not_replaced(two: Two) -> None:
    """From the moment that the only server with a version unloads it: 503 with `Retry-After`, until it is loaded again.

    Never another version, nor an error that looks like the caller's own fault.
    """
    with Caller(two.gateway.inference, two.app) as caller:
        load(two.there, "unload", "digits")
        try:
            outcomes = [caller.infer("only-there") for _ in range(20)]
            assert {one.status for one in outcomes} == {503}
            with two.gateway.caller(two.app) as http:
                wait_until(lambda: http.get("/v2/models/only-there/ready").status_code == 503, "not ready")
                reply = http.post("/v2/models/only-there/infer", content=b"{}")
            assert reply.status_code == 503
            assert int(reply.headers["Retry-After"]) >= 1
            assert reply.headers["Content-Type"] == "application/problem+json"
            assert "ersion 3" in reply.json()["error"]
        finally:
            load(two.there, "load", "digits")
        wait_until(lambda: caller.infer("only-there").served_by == "digits/3", "it is back", PROBED_WITHIN_S)
        wait_until(lambda: used(two, two.there), "the other version is used there too", PROBED_WITHIN_S)


def test_a_version_that_one_server_unloads_is_served_by_the_other(two: Two) -> None:
    """A call that meets the server without the version may fail; the gateway knows from then on, and no other one does."""
    with Caller(two.gateway.inference, two.app) as caller:
        load(two.there, "unload", "digits")
        try:
            outcomes = [caller.infer("both") for _ in range(40)]
        finally:
            load(two.there, "load", "digits")
        assert Counter(one.status for one in outcomes if one.status != 200) in (Counter(), Counter({503: 1}))
        wait_until(lambda: used(two, two.there), "it is used there again", PROBED_WITHIN_S)


def test_a_revoked_key_ends_its_stream(two: Two) -> None:
    """A stream under way ends within a second of its key's revocation, and the next call with it is refused."""

    def attempt() -> float:
        key = operator.key("app:shop")
        with two.gateway.caller(key) as http:
            wait_until(lambda: http.get("/v2/models/repeat/ready").is_success, "the key works")
            wish = {"text": "tick", "times": 1200, "delay_ms": 50}
            with http.stream("POST", "/v2/models/repeat/generate_stream", json=wish) as reply:
                lines = reply.iter_lines()
                assert next(lines).startswith("data:")
                revoke(operator, key)
                revoked = time.monotonic()
                with pytest.raises(httpx.RemoteProtocolError):
                    list(lines)
            took = time.monotonic() - revoked
            assert http.get("/v2/models/repeat/ready").status_code == 401
        return took

    with two.gateway.operator() as operator:
        in_time(attempt, 1.0)


def revoke(operator: Operator, key: Key) -> None:
    assert operator.delete(f"/keys/{key.id}").is_success


def test_a_server_dies_under_load(two: Two, repositories: Pair) -> None:
    """SIGKILL for one server: only what was under way on it fails (502); all that comes later succeeds on the other one;
    when it is back it is used again.
    """
    port = urlsplit(two.here.http_url).port
    callers = 8
    with Load(two.gateway.inference, two.app, "slow", wait(40), callers=callers, pause_s=0.002) as load:
        load.go_on(60)
        killed = time.monotonic()
        os.killpg(two.here.process.pid, signal.SIGKILL)
        two.here.process.wait()
        dead = time.monotonic()
        load.go_on(100)
    two.here.stop(timeout_s=0)
    assert {outcome.status for outcome in load.failures} <= {502}
    assert len(load.failures) <= callers
    late = [one for one in load.failures if one.began > dead or one.ended < killed]
    assert late == []
    assert load.statuses[200] >= 100
    with start_triton(repositories.here, http_port=port):
        wait_until(lambda: used(two, two.here), "it is used again", PROBED_WITHIN_S)
        with Load(two.gateway.inference, two.app, "slow", wait(5), callers=4) as load:
            load.go_on(40)
        assert not load.failures
    with Load(two.gateway.inference, two.app, "both", callers=2) as load:
        load.go_on(40)
    assert {outcome.status for outcome in load.outcomes[-20:]} == {200}


def test_no_server_is_left(two: Two) -> None:
    """Without any server a call is refused at once, with 503 and when to come back; the gateway itself stays well."""
    two.there.stop(timeout_s=0)
    two.here.stop(timeout_s=0)
    with two.gateway.caller(two.app) as http:
        wait_until(lambda: http.post("/v2/models/both/infer", content=b"{}").status_code == 503, "503")

        def attempt() -> float:
            began = time.monotonic()
            reply = http.post("/v2/models/both/infer", content=b"{}")
            took = time.monotonic() - began
            assert reply.status_code == 503
            assert int(reply.headers["Retry-After"]) >= 1
            return took

        in_time(attempt, 1.0)
        assert http.get("/v2/health/live").status_code == 200
