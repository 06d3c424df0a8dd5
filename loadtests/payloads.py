"""The requests of the benchmark, as a client of the Open Inference Protocol v2 would send them over HTTP and gRPC."""

import json

import msgspec

from loadtests import messages

MODEL = "digits"
VERSIONS = (1, 2)
ROW_BYTES = 64 * 4
"""One row of the input `image`: 64 FP32 numbers."""

STREAM_TOKENS = 50
"""In each stream."""

ROUTING_KEYS = 64
"""So many different callers does the JSON load show, so that both arms of the split are used."""


ALIAS_PATH = f"/v2/models/{MODEL}/infer"


def infer_path(version: int) -> str:
    """Triton's path of the pinned version."""
    return f"/v2/models/{MODEL}/versions/{version}/infer"


class Payload(msgspec.Struct, frozen=True):
    """One request body. `headers` leaves out the credential and the routing key, which are added for each peer.

    `alias_path` is where the peers that split traffic are called, `version_path` where the others are.
    """

    name: str
    title: str
    body: bytes
    headers: dict[str, str]
    rotate_keys: bool
    """Many routing keys take a copy of the request for each in the load generator: only for small bodies."""
    alias_path: str = ALIAS_PATH
    version_path: str = infer_path(VERSIONS[0])
    grpc: bool = False
    streams: bool = False
    """The reply is a stream of `STREAM_TOKENS` tokens."""
    openai_body: bytes | None = None
    """What the gateway is sent where it alone speaks the API; the model's own stream is what it is compared with."""


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


def grpc_payload(name: str, title: str, message: bytes) -> Payload:
    """A unary `ModelInfer`. Its message names the alias, which has the model's name."""
    headers = {"te": "trailers", "content-type": "application/grpc"}
    framed, method = messages.framed(message), messages.METHOD
    return Payload(name, title, framed, headers, False, alias_path=method, version_path=method, grpc=True)


def small_grpc_payload() -> Payload:
    """A `ModelInferRequest` of 100 bytes."""
    return grpc_payload("grpc", "gRPC, 100-byte message", messages.infer_request(MODEL, (1, 16), "12345"))


def generate_payload() -> Payload:
    """A text that a model goes on with, by Triton's generate extension, as server-sent events."""
    return Payload(
        "generate",
        "generate_stream",
        json.dumps({"text_input": "The gateway", "max_tokens": STREAM_TOKENS, "stream": True}).encode(),
        {"Content-Type": "application/json"},
        rotate_keys=False,
        alias_path=f"/v2/models/{MODEL}/generate_stream",
        version_path=f"/v2/models/{MODEL}/versions/{VERSIONS[0]}/generate_stream",
        streams=True,
    )


def chat_payload() -> Payload:
    """The same as a chat of OpenAI's API, which the gateway translates."""
    chat = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "The gateway"}],
        "max_tokens": STREAM_TOKENS,
        "stream": True,
    }
    return msgspec.structs.replace(
        generate_payload(),
        name="chat",
        title="OpenAI chat",
        alias_path="/v1/chat/completions",
        openai_body=json.dumps(chat).encode(),
    )


def grpc_stream_payload() -> Payload:
    """One request on a `ModelStreamInfer` of its own."""
    method = messages.STREAM_METHOD
    return Payload(
        "grpc-stream",
        "ModelStreamInfer",
        messages.infer_request(MODEL, (1, 16), "12345"),
        {},
        rotate_keys=False,
        alias_path=method,
        version_path=method,
        grpc=True,
        streams=True,
    )


def all_payloads() -> dict[str, Payload]:
    """The payloads by name; of each protocol the smallest first."""
    made = (
        json_payload(),
        binary_payload("600KB", "600 KB binary tensor", 600_000),
        binary_payload("16MB", "16 MB binary tensor", 16 * 1024 * 1024),
        small_grpc_payload(),
        grpc_payload(
            "grpc-600KB",
            "gRPC, 600 KB tensor",
            messages.infer_request(MODEL, (600_000 // ROW_BYTES, ROW_BYTES // 4)),
        ),
        generate_payload(),
        chat_payload(),
        grpc_stream_payload(),
    )
    return {payload.name: payload for payload in made}
