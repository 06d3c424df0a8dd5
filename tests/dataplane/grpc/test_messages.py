"""What the gateway reads of an inference request is what protobuf's library reads of it, however it is written."""

import time

import pytest
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from gateway.dataplane.grpc.messages import metadata_of_alias, read_infer, read_named
from gateway.errors import GatewayError, Kind
from gateway.types import Alias, Target
from gateway.upstream.rpc_request import pin
from gateway.wire import MOST_FIELDS, written

TARGET = Target("m", 7, 10_000, "stable", "main", b"/v2/models/m/versions/7", b"m/7")
KEYS = st.sampled_from(["timeout", "sequence_id", "priority", "colour", "shared_memory_size"])
NAMES = st.text(max_size=20)


@st.composite
def parameters(draw: st.DrawFn) -> service_pb2.InferParameter:
    """A parameter of any kind, or of none."""
    parameter = service_pb2.InferParameter()
    kind = draw(
        st.sampled_from(["bool_param", "int64_param", "string_param", "double_param", "uint64_param", None])
    )
    if kind is not None:
        value: object = draw(
            {
                "bool_param": st.booleans(),
                "int64_param": st.integers(-(2**63), 2**63 - 1),
                "string_param": NAMES,
                "double_param": st.floats(allow_nan=False),
                "uint64_param": st.integers(0, 2**64 - 1),
            }[kind]
        )
        setattr(parameter, kind, value)
    return parameter


@st.composite
def requests(draw: st.DrawFn) -> service_pb2.ModelInferRequest:
    """An inference request."""
    message = service_pb2.ModelInferRequest(model_name=draw(NAMES), model_version=draw(NAMES), id=draw(NAMES))
    for key, value in draw(st.dictionaries(KEYS, parameters(), max_size=3)).items():
        message.parameters[key].CopyFrom(value)
    for name in draw(st.lists(NAMES, max_size=3)):
        tensor = message.inputs.add(
            name=name,
            datatype="FP32",
            shape=draw(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3)),
        )
        for key, value in draw(st.dictionaries(KEYS, parameters(), max_size=2)).items():
            tensor.parameters[key].CopyFrom(value)
        tensor.contents.fp32_contents.extend(draw(st.lists(st.floats(width=32), max_size=3)))
    for name in draw(st.lists(NAMES, max_size=2)):
        message.outputs.add(name=name).parameters["classification"].int64_param = 3
    message.raw_input_contents.extend(draw(st.lists(st.binary(max_size=50), max_size=3)))
    return message


def rows(message: service_pb2.ModelInferRequest) -> int:
    """The batch rows, by the library."""
    if not message.inputs or not message.inputs[0].shape:
        return 1
    return max(1, message.inputs[0].shape[0])


def timeout_s(message: service_pb2.ModelInferRequest) -> float | None:
    """The timeout, by the library."""
    if "timeout" not in message.parameters:
        return None
    parameter = message.parameters["timeout"]
    kind = parameter.WhichOneof("parameter_choice")
    micros = getattr(parameter, kind) if kind in ("int64_param", "uint64_param") else 0
    return micros / 1e6 if micros > 0 else None


@given(requests(), requests(), st.binary(max_size=20))
def test_a_request_says_what_the_library_finds_in_it(
    one: service_pb2.ModelInferRequest, other: service_pb2.ModelInferRequest, unknown: bytes
) -> None:
    """Also where fields stand there twice, in any order, among fields that nobody knows."""
    data = one.SerializeToString() + written(900, unknown) + other.SerializeToString()
    message = service_pb2.ModelInferRequest.FromString(data)
    id_kind = message.parameters["sequence_id"].WhichOneof("parameter_choice")
    if id_kind not in (None, "int64_param", "string_param"):
        with pytest.raises(GatewayError, match="sequence_id"):
            read_infer(data)
        return
    head = read_infer(data)
    assert (head.name, head.version) == (message.model_name, message.model_version)
    assert head.rows == rows(message)
    assert head.timeout_s == timeout_s(message)
    named = read_named(data)
    assert (named.name, named.version) == (head.name, head.version)


@given(requests(), st.binary(max_size=20))
def test_the_target_stands_last_and_nothing_else_changes(
    message: service_pb2.ModelInferRequest, unknown: bytes
) -> None:
    """Triton reads the pinned name and version; what the gateway does not know goes on."""
    data = message.SerializeToString() + written(900, unknown)
    sent = data + pin(TARGET)
    read = service_pb2.ModelInferRequest.FromString(sent)
    assert (read.model_name, read.model_version) == ("m", "7")
    read.model_name, read.model_version = message.model_name, message.model_version
    assert read == service_pb2.ModelInferRequest.FromString(data)


@pytest.mark.parametrize("where", ["request", "input", "output", "second input"])
def test_a_shared_memory_region_is_refused_wherever_it_stands(where: str) -> None:
    """The memory of the server's host is nobody's to name."""
    message = service_pb2.ModelInferRequest(model_name="a")
    for name in ("x", "y"):
        message.inputs.add(name=name, datatype="FP32", shape=[1])
        message.outputs.add(name=name)
    holder = {
        "request": message,
        "input": message.inputs[0],
        "output": message.outputs[1],
        "second input": message.inputs[1],
    }[where]
    holder.parameters["shared_memory_region"].string_param = "mine"
    with pytest.raises(GatewayError, match="shared-memory region") as error:
        read_infer(message.SerializeToString())
    assert error.value.kind is Kind.BAD_REQUEST


@given(st.binary(max_size=80))
def test_garbage_is_refused_or_read_as_the_library_does(data: bytes) -> None:
    """Never anything but a name, or BAD_REQUEST."""
    try:
        head = read_infer(data)
    except GatewayError as error:
        if error.kind is not Kind.BAD_REQUEST:
            raise
        return
    try:
        message = service_pb2.ModelInferRequest.FromString(data)
    except DecodeError:
        return  # what is wrong lies in a part that is not looked at: Triton refuses it
    assert (head.name, head.version) == (message.model_name, message.model_version)
    assert head.rows == rows(message)


@pytest.mark.parametrize(
    ("kind", "value"), [("uint64_param", 7), ("double_param", 7.0), ("bool_param", True)]
)
def test_a_sequences_id_is_a_number_or_a_text(kind: str, value: object) -> None:
    """One of another kind would go on as it is, and one caller's could be another's."""
    message = service_pb2.ModelInferRequest(model_name="m")
    setattr(message.parameters["sequence_id"], kind, value)
    with pytest.raises(GatewayError, match="must be an int64_param or a string_param") as error:
        read_infer(message.SerializeToString())
    assert error.value.kind is Kind.BAD_REQUEST


def test_a_sequences_id_that_is_no_utf_8_is_refused() -> None:
    """As any other text."""
    entry = written(4, written(1, b"sequence_id") + written(2, written(3, b"\xff\xfe")))
    with pytest.raises(GatewayError, match="no UTF-8") as error:
        read_infer(written(1, "m") + entry)
    assert error.value.kind is Kind.BAD_REQUEST


def test_a_sequences_id_that_is_longer_than_any_is_refused() -> None:
    """As over HTTP."""
    message = service_pb2.ModelInferRequest(model_name="m")
    message.parameters["sequence_id"].string_param = "a" * 257
    with pytest.raises(GatewayError, match="not a text of 257") as error:
        read_infer(message.SerializeToString())
    assert error.value.kind is Kind.BAD_REQUEST


def test_a_message_of_a_million_fields_is_refused_at_once() -> None:
    """Its size is within the limit, and it must not hold the event loop."""
    hostile = written(5, written(3, 1) * 1000) * 1000
    began = time.process_time()
    with pytest.raises(GatewayError, match="too many fields"):
        read_infer(hostile)
    assert MOST_FIELDS < 1_000_000
    assert time.process_time() - began < 0.5


def test_metadata_names_the_alias_and_its_live_versions() -> None:
    """All else is as the server says it."""
    theirs = service_pb2.ModelMetadataResponse(name="m", versions=["7", "9"], platform="onnx")
    theirs.inputs.add(name="image", datatype="FP32", shape=[-1, 64])
    theirs.outputs.add(name="p", datatype="FP32", shape=[-1, 10])
    alias = Alias("digits", "t", b"", True, (TARGET,), (10_000,), (TARGET,), {7: TARGET, 2: TARGET}, {})
    ours = service_pb2.ModelMetadataResponse.FromString(
        metadata_of_alias(theirs.SerializeToString(), alias, TARGET)
    )
    assert (ours.name, list(ours.versions)) == ("digits", ["2", "7"])
    ours.name, ours.versions[:] = "m", ["7", "9"]
    assert ours == theirs


def test_metadata_that_is_none_is_the_servers_fault() -> None:
    """A 502 of the gateway's, not a fault of its own."""
    alias = Alias("digits", "t", b"", True, (TARGET,), (10_000,), (TARGET,), {7: TARGET}, {})
    with pytest.raises(GatewayError) as error:
        metadata_of_alias(b"\x0a\xff", alias, TARGET)
    assert error.value.kind is Kind.BAD_GATEWAY
