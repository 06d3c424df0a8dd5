"""A gateway that keeps samples of calls over gRPC."""

import msgspec

from gateway.snapshot.document import PoolEntry, SnapshotDocument
from tests.dataplane.grpc.conftest import Client, RpcServer, infer
from tests.gateway_process import Gateway, wait_for
from tests.sampling.scene import metric


def over_grpc(found: SnapshotDocument, server: RpcServer) -> SnapshotDocument:
    """The document with this server in its pool."""
    pool = PoolEntry("main", "triton", (server.probed.url,), (f"grpc://127.0.0.1:{server.port}",))
    return msgspec.structs.replace(found, pools=(pool,))


def until_sampled(client: Client, gateway: Gateway) -> None:
    """Wait until calls of alias `a` are sampled: the gateway has asked for the model's tensors."""

    def taken() -> bool:
        client.call(infer())
        return metric(gateway, "maas_samples_taken_total") > 0

    wait_for(taken, what="the first sample")
