"""What the engine answers to good requests."""

import struct

import numpy as np
import pytest

from gateway.upstream.embedded import EmbeddedEngine
from tests.models.build import DTYPES
from tests.upstream.embedded.calls import ask, binary, infer, outputs, parsed, request, strings, tensor, wish

A = tensor("INPUT0", "INT32", [1, 4], [1, 2, 3, 4])
B = tensor("INPUT1", "INT32", [1, 4], [1, 1, 1, 1])
ITEM_BYTES = {"BOOL": 1, "8": 1, "16": 2, "32": 4, "64": 8}


def test_a_json_request_gets_a_json_reply(engine: EmbeddedEngine) -> None:
    """Names, the pinned version, the caller's id and all outputs, as JSON."""
    reply = infer(engine, "versions", request(A, B, id="x-7"))
    assert parsed(reply) == {
        "id": "x-7",
        "model_name": "versions",
        "model_version": "1",
        "outputs": [
            {"name": "OUTPUT0", "datatype": "INT32", "shape": [1, 4], "data": [2, 3, 4, 5]},
            {"name": "OUTPUT1", "datatype": "INT32", "shape": [1, 4], "data": [0, 1, 2, 3]},
        ],
    }
    assert reply.headers == ((b"Content-Type", b"application/json"),)


def test_versions_answer_side_by_side(engine: EmbeddedEngine) -> None:
    """Each loaded version answers under its own number."""
    for version in (1, 3):
        reply = ask(engine, "infer", "versions", request(A, B), version=version)
        assert parsed(reply)["model_version"] == str(version)


@pytest.mark.parametrize("datatype", [name for name in DTYPES if name != "BYTES"])
def test_every_type_passes_as_binary_data(engine: EmbeddedEngine, datatype: str) -> None:
    """The bytes of a tensor come back as they were, behind a JSON header of the length that the field names."""
    size = next(size for end, size in ITEM_BYTES.items() if datatype.endswith(end))
    raw = bytes([0, 1] * 8)
    header = request(
        tensor("INPUT0", datatype, [2, 8 // size], binary_data_size=16),
        parameters={"binary_data_output": True},
    )
    body, field = binary(header, raw)
    reply = infer(engine, f"identity_{datatype.lower()}", body, field)
    entry = outputs(reply)["OUTPUT0"]
    assert entry == {
        "name": "OUTPUT0",
        "datatype": datatype,
        "shape": [2, 8 // size],
        "parameters": {"binary_data_size": 16},
    }
    assert (b"Content-Type", b"application/octet-stream") in reply.headers
    assert reply.body.endswith(raw)


def test_strings_pass_in_both_forms(engine: EmbeddedEngine) -> None:
    """BYTES as JSON text and as length-prefixed binary data are the same elements."""
    texts = ["ab", "", "é😀", "a\0b"]
    as_json = outputs(infer(engine, "identity_bytes", request(tensor("INPUT0", "BYTES", [2, 2], texts))))
    assert as_json["OUTPUT0"]["data"] == texts
    raw = strings(*(text.encode() for text in texts))
    entry = tensor("INPUT0", "BYTES", [2, 2], binary_data_size=len(raw))
    reply = infer(
        engine, "identity_bytes", *binary(request(entry, outputs=[wish("OUTPUT0", binary_data=True)]), raw)
    )
    assert outputs(reply)["OUTPUT0"]["parameters"] == {"binary_data_size": len(raw)}
    assert reply.body.endswith(raw)


@pytest.mark.parametrize("shape", [[1, 4], [5, 4], [0, 4]])
def test_dynamic_dimensions_take_any_size(engine: EmbeddedEngine, shape: list[int]) -> None:
    """The reply has the rows that were sent, none included."""
    count = shape[0] * shape[1]
    entry = outputs(infer(engine, "scores", request(tensor("image", "FP32", shape, [1.0] * count))))[
        "probabilities"
    ]
    assert entry["shape"] == shape
    assert entry["data"] == pytest.approx([0.25] * count)


def test_a_reshape_is_the_models_own_affair(engine: EmbeddedEngine) -> None:
    """Callers send and get the configured shape; the model computes on its own."""
    entry = outputs(infer(engine, "column", request(tensor("x", "FP32", [2, 2], [1, 2, 3, 4]))))["y"]
    assert (entry["shape"], entry["data"]) == ([2, 2], [1, 2, 3, 4])


def test_a_raw_body_is_the_one_input(engine: EmbeddedEngine) -> None:
    """Header length 0: the shape follows from the size, and the reply is binary."""
    raw = struct.pack("<8f", *[1.0] * 8)
    reply = infer(engine, "scores", raw, {b"inference-header-content-length": b"0"})
    assert outputs(reply)["probabilities"]["shape"] == [2, 4]
    assert np.frombuffer(reply.body[-32:], "<f4").tolist() == pytest.approx([0.25] * 8)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_body_may_be_any_buffer(engine: EmbeddedEngine, kind: type) -> None:
    """The transport hands over what it has; nothing is copied to please the engine."""
    header = request(tensor("INPUT0", "FP32", [1, 2], binary_data_size=8))
    body, field = binary(header, struct.pack("<2f", 1, 2))
    for operation, model, content in (
        ("infer", "identity_fp32", body),
        ("generate", "text", b'{"text_input":"x"}'),
    ):
        reply = ask(engine, operation, model, kind(content), field if operation == "infer" else {})
        assert reply.status == 200


def test_metadata_names_the_pinned_version(engine: EmbeddedEngine) -> None:
    """Shapes with the batch in front, types as callers write them."""
    assert parsed(ask(engine, "metadata", "versions", version=3)) == {
        "name": "versions",
        "versions": ["3"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": f"INPUT{n}", "datatype": "INT32", "shape": [-1, 4]} for n in range(2)],
        "outputs": [{"name": f"OUTPUT{n}", "datatype": "INT32", "shape": [-1, 4]} for n in range(2)],
    }


def test_ready_is_an_empty_success(engine: EmbeddedEngine) -> None:
    """200 without a body for what is loaded, 400 for what is not, as Triton answers."""
    assert (ask(engine, "ready", "versions").status, ask(engine, "ready", "versions").body) == (200, b"")
    assert ask(engine, "ready", "versions", version=2).status == 400
    assert ask(engine, "ready", "nope").status == 400


def test_generate_stream_is_one_event(engine: EmbeddedEngine) -> None:
    """A model that gives one response gives one server-sent event, and no body beside it."""
    reply = ask(engine, "generate_stream", "text", b'{"text_input":"hi","id":"1"}')
    assert reply.status == 200
    assert reply.body == b""
    assert reply.headers == ((b"Content-Type", b"text/event-stream; charset=utf-8"),)
    assert reply.events is not None
    assert list(reply.events) == [
        b'data: {"id":"1","model_name":"text","model_version":"1","text_output":"hi"}\n\n'
    ]
