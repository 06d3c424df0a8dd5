"""Whatever is sent, the engine answers: no exception, no status but an answer or a caller's fault."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.upstream.embedded import EmbeddedEngine
from tests.upstream.embedded.calls import ask, request, tensor, wish

OPERATIONS = ("infer", "generate", "generate_stream")
MODELS = (
    "versions",
    "scores",
    "fields",
    "text",
    "column",
    "identity_fp32",
    "identity_bytes",
    "identity_bool",
    "identity_fp16",
)
ANSWERS = {200, 400, 413, 415, 500}
"""500 is the model's own failure: BYTES alone, or shapes within the configuration, cannot cause it in these models."""

fuzz = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from([0, 1, 4, -1]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(["INPUT0", "INPUT1", "image", "text", "n", "f", "b", "text_input", "x"])
TYPES = st.sampled_from(["FP32", "INT32", "BYTES", "BOOL", "FP16", "BF16", "UINT8", "FOO"])


def sometimes(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What belongs there, or anything."""
    return st.one_of(usual, usual, usual, VALUES)


PARAMETERS = st.dictionaries(
    st.sampled_from(
        [
            "binary_data_size",
            "binary_data",
            "classification",
            "shared_memory_region",
            "binary_data_output",
            "priority",
            "a",
        ]
    ),
    sometimes(st.one_of(st.integers(0, 64), st.booleans())),
    max_size=2,
)
INPUTS = st.fixed_dictionaries(
    {
        "name": sometimes(NAMES),
        "datatype": sometimes(TYPES),
        "shape": sometimes(st.lists(st.integers(0, 5), max_size=4)),
    },
    optional={"data": sometimes(st.lists(SCALARS, max_size=8)), "parameters": sometimes(PARAMETERS)},
)
OUTPUTS = st.fixed_dictionaries(
    {"name": sometimes(st.sampled_from(["OUTPUT0", "OUTPUT1", "probabilities", "text_output", "y"]))},
    optional={"parameters": sometimes(PARAMETERS)},
)
REQUESTS = st.fixed_dictionaries(
    {"inputs": sometimes(st.lists(sometimes(INPUTS), max_size=3))},
    optional={
        "outputs": sometimes(st.lists(OUTPUTS, max_size=2)),
        "parameters": sometimes(PARAMETERS),
        "id": sometimes(st.text()),
    },
)
FIELDS = st.dictionaries(st.one_of(NAMES, st.sampled_from(["id", "parameters", "a"])), VALUES, max_size=5)
HEADERS = st.dictionaries(
    st.sampled_from([b"inference-header-content-length", b"content-encoding", b"accept-encoding"]),
    st.one_of(
        st.sampled_from([b"0", b"gzip", b"deflate", b"identity", b"gzip;q=x", b"-1"]), st.binary(max_size=8)
    ),
    max_size=2,
)


def answered(
    engine: EmbeddedEngine, operation: str, model: str, body: bytes, headers: dict[bytes, bytes]
) -> None:
    reply = ask(engine, operation, model, body, headers)
    assert reply.status in ANSWERS
    text = reply.body if reply.events is None else b"".join(reply.events).removeprefix(b"data: ")
    coded = any(name == b"Content-Encoding" for name, _ in reply.headers)
    if reply.status != 200:
        assert json.loads(text)["error"]
    elif not coded:
        header = dict(reply.headers).get(b"Inference-Header-Content-Length")
        assert json.loads(text[: int(header)] if header else text)["model_name"] == model


@fuzz
@given(st.sampled_from(OPERATIONS), st.sampled_from(MODELS), st.binary(max_size=64), HEADERS)
def test_any_bytes_are_answered(
    engine: EmbeddedEngine, operation: str, model: str, body: bytes, headers: dict[bytes, bytes]
) -> None:
    """Bodies of arbitrary bytes, under arbitrary header fields."""
    answered(engine, operation, model, body, headers)


@settings(fuzz, max_examples=400)
@given(st.sampled_from(MODELS), REQUESTS, st.binary(max_size=64), st.booleans())
def test_any_request_is_answered(
    engine: EmbeddedEngine, model: str, fields: Any, tail: bytes, binary: bool
) -> None:
    """Requests of the right form with wrong parts, with and without binary data behind them."""
    text = json.dumps(fields).encode()
    headers = {b"inference-header-content-length": str(len(text)).encode()} if binary else {}
    answered(engine, "infer", model, text + tail if binary else text, headers)


@fuzz
@given(st.sampled_from(OPERATIONS[1:]), st.sampled_from(MODELS), st.one_of(FIELDS, VALUES))
def test_any_generate_request_is_answered(
    engine: EmbeddedEngine, operation: str, model: str, fields: Any
) -> None:
    """Generate requests with any fields."""
    answered(engine, operation, model, json.dumps(fields).encode(), {})


GOOD = request(
    tensor("INPUT0", "INT32", [1, 4], [1, 2, 3, 4]),
    tensor("INPUT1", "INT32", [1, 4], [1, 1, 1, 1]),
    outputs=[wish("OUTPUT0", classification=2), wish("OUTPUT1", binary_data=True)],
    id="7",
)


@fuzz
@given(st.data())
def test_a_good_request_with_a_flaw_is_answered(engine: EmbeddedEngine, data: st.DataObject) -> None:
    """One good request with a few bytes changed, taken out or put in."""
    body = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    answered(engine, "infer", "versions", bytes(body), {})
