"""Two endpoints in one pool: the least loaded one is chosen, a dead one is passed over."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.dataplane.raw import RawClient, ask, expect_problem, request, until_answered
from tests.dataplane.upstream import Talk, Upstream
from tests.gateway_process import Gateway, document, running, wait_for
from tests.patience import PATIENT_S

pytestmark = pytest.mark.slow

Pair = tuple[Gateway, Upstream, Upstream]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """A gateway over two endpoints, both known to be ready."""
    first, second = Upstream(), Upstream()
    with running(tmp_path, document(first.url, second.url), INFERENCE__DEADLINE_S=30) as gateway:

        def both() -> bool:
            ask(gateway.address, request())
            return bool(first.talks and second.talks)

        until_answered(gateway.address)
        wait_for(both, 5, "both endpoints to be used")
        yield gateway, first, second
    first.close()
    second.close()


def test_equals_take_turns(pair: Pair) -> None:
    """With nothing in flight, both endpoints are used."""
    gateway, first, second = pair
    before = len(first.talks), len(second.talks)
    for _ in range(40):
        assert ask(gateway.address, request()).status == 200
    assert len(first.talks) - before[0] == len(second.talks) - before[1] == 20


def test_the_less_loaded_endpoint_is_chosen(pair: Pair) -> None:
    """While three calls hang on one endpoint, all others go to the other one."""
    gateway, first, second = pair
    hold = threading.Event()

    def hang(talk: Talk) -> None:
        talk.take_body()
        hold.wait(60)
        talk.answer()

    first.behave = hang
    clients = [RawClient(gateway.address) for _ in range(5)]
    arrived = len(first.talks) + len(second.talks)
    for number, client in enumerate(clients, start=arrived + 1):
        client.send(request())
        wait_for(lambda: len(first.talks) + len(second.talks) == number, what="the call to arrive")  # noqa: B023
    # The answers are on their way: until they have arrived, the other one is no less loaded.
    wait_for(lambda: in_flight(gateway, second) == 0, what="the answered calls to end")
    before = len(first.talks)
    for _ in range(30):
        assert ask(gateway.address, request()).status == 200
    assert len(first.talks) == before
    hold.set()
    for client in clients:
        assert client.reply().status == 200
        client.sock.close()


def test_an_endpoint_that_dies_is_passed_over(pair: Pair) -> None:
    """Once it is gone, no further request fails, before its probe has noticed and after."""
    gateway, first, second = pair
    first.close()
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        assert ask(gateway.address, request()).status == 200
    assert second.talks


def test_only_the_call_in_flight_suffers_when_its_endpoint_dies(pair: Pair) -> None:
    """It is told 502 at once; the next one is served by the other endpoint."""
    gateway, first, second = pair
    first.behave = second.behave = Talk.reset
    expect_problem(ask(gateway.address, request()), 502)
    second.behave = Talk.answer
    first.close()
    for _ in range(10):
        assert ask(gateway.address, request()).status == 200


def test_with_no_endpoint_left_it_is_the_gateway_that_is_short(pair: Pair) -> None:
    """503 with Retry-After; served again as soon as an endpoint is back."""
    gateway, first, second = pair
    first.ready = second.ready = False
    wait_for(lambda: ask(gateway.address, request()).status == 503, 3, "the probes to notice")
    expect_problem(ask(gateway.address, request()), 503)
    second.ready = True
    until_answered(gateway.address, 3)


def test_a_version_is_asked_only_where_it_is_loaded(pair: Pair) -> None:
    """An endpoint that has not loaded the version gets no request for it; when none has, 503 and no other version."""
    gateway, first, second = pair
    first.loaded = (("m", 2),)
    wait_for(lambda: _only_second(pair), what="the probes to notice")
    before = len(first.talks)
    for _ in range(20):
        assert ask(gateway.address, request()).status == 200
    assert len(first.talks) == before
    second.loaded = (("m", 2),)
    wait_for(lambda: ask(gateway.address, request()).status == 503, 3, "the probes to notice")
    asked = len(first.talks) + len(second.talks)
    for _ in range(5):
        expect_problem(ask(gateway.address, request()), 503)
    assert len(first.talks) + len(second.talks) == asked
    assert ask(gateway.address, request("/v2/models/split/versions/2/infer")).status == 200


def test_an_endpoint_that_hangs_on_its_probes_is_taken_out_without_harm_to_others(pair: Pair) -> None:
    """A server that accepts and says nothing is out after a few probes; until then only its own calls are late."""
    gateway, first, _ = pair
    first.index = b"not json"
    wait_for(lambda: _only_second(pair), 5, "the probes to notice")
    first.index = None
    wait_for(lambda: not _only_second(pair), 5, "the endpoint to come back")
    assert gateway.exit_status is None


def in_flight(gateway: Gateway, upstream: Upstream) -> float:
    """How many calls the gateway has under way on an endpoint."""
    page = httpx.get(f"http://127.0.0.1:{gateway.ops_port}/metrics", trust_env=False, timeout=PATIENT_S).text
    series = f'maas_endpoint_in_flight{{endpoint="{upstream.url}",pool="main"}} '
    return sum(float(line.removeprefix(series)) for line in page.splitlines() if line.startswith(series))


def _only_second(pair: Pair) -> bool:
    gateway, first, _ = pair
    before = len(first.talks)
    for _ in range(4):
        assert ask(gateway.address, request()).status == 200
    return len(first.talks) == before
