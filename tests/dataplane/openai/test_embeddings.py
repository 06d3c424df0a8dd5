"""Embeddings: one inference for all texts, whose vectors come back as numbers or as base64."""

import base64
import json
import struct
from typing import Any

import openai
import pytest

from tests.dataplane.openai.scene import asked
from tests.dataplane.raw import ask, request
from tests.dataplane.upstream import Talk, Upstream
from tests.gateway_process import Gateway

VECTORS = [[0.5, -1.25, 3.0], [0.25, 0.0, 2.0]]


def embeds(
    talk: Talk,
    rows: Any = None,
    name: str = "embedding",
    datatype: str = "FP32",
    shape: Any = None,
    lengths: Any = None,
) -> None:
    """A model that answers as Triton does when it is asked for binary output."""
    rows = VECTORS[: len(asked(talk)["inputs"][0]["data"])] if rows is None else rows
    data = b"".join(struct.pack(f"<{len(row)}f", *row) for row in rows)
    output = {
        "name": name, "datatype": datatype, "shape": shape or [len(rows), len(rows[0])],
        "parameters": {"binary_data_size": len(data)},
    }  # fmt: skip
    outputs = [output]
    if lengths is not None:
        tokens = struct.pack(f"<{len(lengths)}i", *lengths)
        outputs.insert(0, {
            "name": "lengths", "datatype": "INT32", "shape": [len(lengths), 1],
            "parameters": {"binary_data_size": len(tokens)},
        })  # fmt: skip
        data = tokens + data
    head = json.dumps({"model_name": "m", "model_version": "1", "outputs": outputs}).encode()
    length = b"Inference-Header-Content-Length: %d" % len(head)
    talk.answer(200, head + data, (b"Content-Type: application/octet-stream", length))


def test_texts_become_vectors(ai: openai.OpenAI, upstream: Upstream) -> None:
    """By OpenAI's own client, which asks for base64 unless told otherwise; a list, and one text."""
    upstream.behave = embeds
    found = ai.embeddings.create(model="embed", input=["one", "two texts"])
    (talk,) = upstream.talks
    assert talk.path == b"/v2/models/m/versions/1/infer"
    assert asked(talk) == {
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [2, 1], "data": ["one", "two texts"]}],
        "outputs": [{"name": "embedding", "parameters": {"binary_data": True}}],
    }
    assert [each.index for each in found.data] == [0, 1]
    assert [each.embedding for each in found.data] == VECTORS
    assert (found.model, found.usage.prompt_tokens, found.usage.total_tokens) == ("embed", 4, 4)
    one = ai.embeddings.create(model="embed", input="one", encoding_format="float")
    assert one.data[0].embedding == VECTORS[0]


def test_a_model_of_another_shape_is_asked_by_its_adapter(ai: openai.OpenAI, upstream: Upstream) -> None:
    """Its names, texts of one dimension, and tokens that it tells, in whatever order."""
    upstream.behave = lambda talk: embeds(talk, name="vectors", lengths=[5, 8])
    found = ai.embeddings.create(model="flat", input=["one", "two texts"])
    sent = asked(upstream.talks[0])
    assert (sent["inputs"][0]["name"], sent["inputs"][0]["shape"]) == ("texts", [2])
    assert [output["name"] for output in sent["outputs"]] == ["vectors", "lengths"]
    assert found.usage.prompt_tokens == 13
    assert [each.embedding for each in found.data] == VECTORS
    upstream.behave = lambda talk: embeds(talk, name="vectors")
    with pytest.raises(openai.InternalServerError, match="no output lengths"):
        ai.embeddings.create(model="flat", input="one")


def test_base64_is_of_little_endian_floats(gateway: Gateway, upstream: Upstream) -> None:
    """And numbers are what is sent where nothing is asked."""
    upstream.behave = embeds
    for encoding in ("base64", "float", None):
        body = json.dumps({"model": "embed", "input": "x", "encoding_format": encoding}).encode()
        reply = json.loads(ask(gateway.address, request("/v1/embeddings", body)).body)
        vector = reply["data"][0]["embedding"]
        if encoding == "base64":
            vector = list(struct.unpack("<3f", base64.b64decode(vector)))
        assert vector == VECTORS[0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": VECTORS},
        {"name": "other"},
        {"datatype": "FP16"},
        {"shape": [1, 4]},
        {"shape": [3]},
        {"shape": [1, -3]},
    ],
)
def test_what_is_not_one_vector_for_each_text_is_a_bad_gateway(
    ai: openai.OpenAI, upstream: Upstream, wrong: dict[str, Any]
) -> None:
    """502, and no fault of the gateway's."""
    upstream.behave = lambda talk: embeds(talk, **wrong)
    with pytest.raises(openai.InternalServerError) as fault:
        ai.embeddings.create(model="embed", input="one")
    assert fault.value.status_code == 502


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"input": []}, "input", "invalid_value"),
        ({"input": ""}, "input", "invalid_value"),
        ({"input": ["x", ""]}, "input", "invalid_value"),
        ({"input": ["x"] * 2049}, "input", "invalid_value"),
        ({"input": [1, 2]}, "input", "unsupported_parameter"),
        ({"input": None}, "input", "bad_request"),
        ({"encoding_format": "hex"}, "encoding_format", "invalid_value"),
        ({"dimensions": 64}, "dimensions", "unsupported_parameter"),
        ({"model": "text"}, "model", "model_not_supported"),
        ({"model": "a"}, "model", "model_not_supported"),
    ],
)
def test_bad_input_is_refused_with_the_parameter_at_fault(
    gateway: Gateway, upstream: Upstream, fields: dict[str, Any], param: str, code: str
) -> None:
    """400 in OpenAI's form; the model is not asked."""
    body = json.dumps({"model": "embed", "input": "x"} | fields).encode()
    reply = ask(gateway.address, request("/v1/embeddings", body))
    found = json.loads(reply.body)["error"]
    assert (reply.status, found["param"], found["code"]) == (400, param, code)
    assert not upstream.talks
