"""Samples of messages on gRPC streams, of a real gateway process: what one is, and its bounds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2

from gateway.snapshot.document import MaskRule
from loadtests.processes import free_port
from tests.dataplane.grpc.conftest import SERVICE, Asked, Client, RpcServer, infer, streamed
from tests.gateway_process import APP, running, wait_for
from tests.sampling.rpc_scene import over_grpc, until_sampled
from tests.sampling.scene import rows, sampled
from tests.sampling.test_gateway import QUICK
from tests.sampling.test_reading import strings

pytestmark = pytest.mark.slow

REPLIES = {"one": (1, 10), "none": (0, 0), "many": (50, 10), "large": (50, 10_000), "failed": (3, 10)}
"""For each request's id how many replies it has, and how long each is."""


def answers(asked: Asked) -> Iterator[bytes]:
    """Replies as the request's id wants them."""
    count, size = REPLIES[asked.request.id]
    for _ in range(count):
        made = service_pb2.ModelInferResponse(model_name="m", id=asked.request.id)
        made.outputs.add(name="label", datatype="BYTES", shape=[1])
        made.raw_output_contents.append(strings(b"x" * size))
        yield streamed(made.SerializeToString())
    if asked.request.id == "failed":
        asked.context.abort(grpc.StatusCode.INTERNAL, "it went wrong in the middle")


def test_a_message_and_its_replies_are_one_sample(rpc_upstream: RpcServer, tmp_path: Path) -> None:
    """With one reply, none, or many, joined; replies that are too many together are not kept, and pass all the same; of those
    that end in an error nothing is kept.
    """
    rpc_upstream.stream = answers
    found = over_grpc(sampled(rpc_upstream.probed.url, MaskRule("keep", tensor="label")), rpc_upstream)
    with running(tmp_path, found, INFERENCE__GRPC_PORT=free_port(), **QUICK) as gateway:
        client = Client(gateway)
        until_sampled(client, gateway)
        open_stream = client.channel.stream_stream(SERVICE + "ModelStreamInfer")
        for name, (count, _) in REPLIES.items():
            metadata = (("authorization", f"Bearer {APP}"), ("x-request-id", name))
            heard = list(open_stream(iter((infer(id=name),)), metadata=metadata, timeout=60))
            assert len(heard) == count + (name == "failed")
        wanted = set(REPLIES)
        wait_for(lambda: wanted <= {row["request_id"] for row in rows(tmp_path / "samples")}, what="samples")
        samples = {row["request_id"]: row for row in rows(tmp_path / "samples")}
        client.channel.close()

    def kept(name: str) -> tuple[list[Any] | None, str | None]:
        row = samples[name]
        assert (row["protocol"], row["operation"], row["inputs"]) == ("grpc", "stream_infer", [])
        outputs = row["outputs"]
        return None if outputs is None else [each["texts"] for each in outputs], row["outputs_missing"]

    assert kept("one") == ([["x" * 10]], None)
    assert kept("none") == ([], None)
    assert kept("many") == ([["x" * 500]], None)
    assert kept("large") == (None, "too_large")
    assert kept("failed") == ([], None)
    assert (samples["failed"]["outcome"], samples["failed"]["status"]) == ("model_failed", 500)
