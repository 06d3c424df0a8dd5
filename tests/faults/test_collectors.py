"""No collector harms a reply, however it behaves; and what is kept is sent before the end."""

import concurrent.futures
import signal
from pathlib import Path

import httpx
import pytest

from tests.dataplane.raw import RawClient, ask, request, until_answered
from tests.dataplane.upstream import Upstream
from tests.gateway_process import Gateway, document, running, wait_for
from tests.observe import collector as behaviour
from tests.observe.collector import Behave, Collector

pytestmark = pytest.mark.slow


def test_spans_under_way_are_sent_before_the_end(tmp_path: Path) -> None:
    """SIGTERM: the last traces arrive, and the process ends with 0."""
    upstream, collector = Upstream(), Collector()
    with running(tmp_path, document(upstream.url), TRACES__ENDPOINT=collector.url) as gateway:
        until_answered(gateway.address)
        traces = [f"{number:032x}" for number in range(1, 21)]
        for trace_id in traces:
            headers = f"traceparent: 00-{trace_id}-b7ad6b7169203331-01\r\n".encode()
            assert ask(gateway.address, request(headers=headers)).status == 200
        gateway.signal(signal.SIGTERM)
        assert gateway.wait(20) == 0
        assert set(traces) <= {span.trace_id.hex() for span in collector.spans}
    upstream.close()
    collector.close()


def counted(gateway: Gateway, name: str) -> float:
    """The sum of a counter."""
    lines = httpx.get(f"http://127.0.0.1:{gateway.ops_port}/metrics", timeout=60).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(None, id="nobody there"),
        pytest.param(behaviour.hang, id="silence"),
        pytest.param(behaviour.refuse(500), id="500"),
        pytest.param(behaviour.garbage, id="no HTTP"),
        pytest.param(behaviour.endless, id="an endless body"),
    ],
)
def test_no_collector_harms_a_reply(tmp_path: Path, behave: Behave | None) -> None:
    """All calls are answered, drops are counted, memory stays, and the process ends with 0 in time."""
    upstream, collector = Upstream(), Collector()
    url = "http://127.0.0.1:9" if behave is None else collector.url
    collector.behave = behave or behaviour.hang
    with running(
        tmp_path, document(upstream.url), TRACES__ENDPOINT=url, TRACES__SAMPLE_RATIO=1, TRACES__MOST_PER_S=100_000,
        TRACES__TIMEOUT_S=1,
    ) as gateway:  # fmt: skip
        until_answered(gateway.address)
        with gateway.memory_growth() as grown, concurrent.futures.ThreadPoolExecutor(4) as callers:

            def call(_: int) -> int:
                with RawClient(gateway.address, 20) as client:
                    client.send(*[request()] * 16)
                    return sum(client.reply().status == 200 for _ in range(16))

            assert sum(callers.map(call, range(60))) == 60 * 16
            # An endless body is cut off; the status before it was good.
            name = (
                "maas_spans_dropped_total" if behave is not behaviour.endless else "maas_spans_exported_total"
            )
            wait_for(lambda: counted(gateway, name) > 0, 20, name)
            assert grown() < 60 * 1024 * 1024
        gateway.signal(signal.SIGTERM)
        assert gateway.wait(30) == 0
    assert "Traceback" not in gateway.log
    upstream.close()
    collector.close()
