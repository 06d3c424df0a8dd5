"""What the fixed-reply upstream answers: the calls of Triton that an inference, a readiness check, or the first sample makes."""

import json

from loadtests.payloads import MODEL, VERSIONS, infer_path

READ_HEADER = "Null-Upstream-Read"
"""Reply header with the number of body bytes that the upstream has read, where it counts them."""


_METADATA = {
    "name": MODEL,
    "versions": [str(version) for version in VERSIONS],
    "platform": "",
    "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, -1]}],
    "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}],
}


def infer_reply(version: int) -> bytes:
    """A v2 inference reply, with the version that answered."""
    probabilities = [0.0125, 0.0125, 0.9, 0.0125, 0.0125, 0.0125, 0.0125, 0.0125, 0.0125, 0.0]
    output = {"name": "probabilities", "datatype": "FP32", "shape": [1, 10], "data": probabilities}
    reply = {"model_name": MODEL, "model_version": str(version), "outputs": [output]}
    return json.dumps(reply, separators=(",", ":")).encode()


def routes() -> dict[str, bytes]:
    """The body of each 200 reply by path."""
    index = [{"name": MODEL, "version": str(version), "state": "READY"} for version in VERSIONS]
    ready = {
        "/v2/health/live": b"",
        "/v2/health/ready": b"",
        "/v2/repository/index": json.dumps(index).encode(),
    }
    for version in VERSIONS:
        ready[f"/v2/models/{MODEL}/versions/{version}/ready"] = b""
        ready[infer_path(version)] = infer_reply(version)
        ready[f"/v2/models/{MODEL}/versions/{version}"] = json.dumps(_METADATA).encode()
    return ready
