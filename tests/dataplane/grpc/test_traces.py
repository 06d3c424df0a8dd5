"""A traced call over gRPC."""

from pathlib import Path

import pytest

from loadtests.processes import free_port
from tests.dataplane.grpc.conftest import Client, RpcServer, infer, reply_of, rpc_document
from tests.dataplane.raw import until_answered
from tests.gateway_process import running
from tests.observe.collector import Collector, attributes

pytestmark = pytest.mark.slow

TRACE, CALLER = "a" * 32, "b7ad6b7169203331"


def test_a_call_is_a_span_of_its_callers_trace(server: RpcServer, tmp_path: Path) -> None:
    """Named by its method; the call upstream is a span within it, and the parent of what happens there."""
    collector = Collector()
    with running(
        tmp_path,
        rpc_document(server),
        INFERENCE__GRPC_PORT=free_port(),
        TRACES__ENDPOINT=collector.url,
        TRACES__SAMPLE_RATIO=1,
    ) as gateway:
        until_answered(gateway.address)
        client = Client(gateway)
        reply_of(client.call(infer(), ("traceparent", f"00-{TRACE}-{CALLER}-01")))
        client.channel.close()
        found = collector.of(TRACE, 2)
    (ours,) = [span for span in found if span.kind == span.SPAN_KIND_SERVER]
    (upstream,) = [span for span in found if span.kind == span.SPAN_KIND_CLIENT]
    assert ours.parent_span_id.hex() == CALLER
    assert upstream.parent_span_id == ours.span_id
    for span in (ours, upstream):
        assert span.name == "inference.GRPCInferenceService/ModelInfer"
        assert attributes(span)["rpc.system.name"] == "grpc"
    assert attributes(ours)["maas.protocol"] == "grpc"
    assert server.asked[0].metadata["traceparent"] == f"00-{TRACE}-{upstream.span_id.hex()}-01"
    collector.close()
