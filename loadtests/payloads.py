"""The three requests of the benchmark, as a client of the Open Inference Protocol v2 would send them."""

import json

import msgspec

MODEL = "digits"
VERSIONS = (1, 2)
ROW_BYTES = 64 * 4
"""One row of the input `image`: 64 FP32 numbers."""

ROUTING_KEYS = 64
"""So many different callers does the JSON load show, so that both arms of the split are used."""


class Payload(msgspec.Struct, frozen=True):
    """One request body. `headers` leaves out the credential and the routing key, which are added for each peer."""

    name: str
    title: str
    body: bytes
    headers: dict[str, str]
    rotate_keys: bool
    """Many routing keys take a copy of the request for each in the load generator: only for small bodies."""


def json_payload() -> Payload:
    """A JSON inference of 100 bytes."""
    body = b'{"inputs":[{"name":"image","datatype":"FP32","shape":[1,8],"data":[0,1,2,3,4,5,6,16]}],"id":"12345"}'
    return Payload("json", "100-byte JSON", body, {"Content-Type": "application/json"}, rotate_keys=True)


def binary_payload(name: str, title: str, tensor_bytes: int) -> Payload:
    """One FP32 tensor of (about) `tensor_bytes` behind its JSON header, by Triton's binary tensor data extension."""
    rows = tensor_bytes // ROW_BYTES
    size = rows * ROW_BYTES
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "image",
                    "datatype": "FP32",
                    "shape": [rows, 64],
                    "parameters": {"binary_data_size": size},
                }
            ],
            "outputs": [{"name": "probabilities", "parameters": {"binary_data": False}}],
        },
        separators=(",", ":"),
    ).encode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(head)),
    }
    return Payload(name, title, head + bytes(size), headers, rotate_keys=False)


def all_payloads() -> dict[str, Payload]:
    """The payloads by name, the smallest first."""
    made = (
        json_payload(),
        binary_payload("600KB", "600 KB binary tensor", 600_000),
        binary_payload("16MB", "16 MB binary tensor", 16 * 1024 * 1024),
    )
    return {payload.name: payload for payload in made}
