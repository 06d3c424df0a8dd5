"""Calls over gRPC are read as protobuf's library reads them, raw tensors and typed ones, and masked as those over HTTP."""

import json
import math
import struct
import time
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from hypothesis import example, given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from gateway.sampling.content import NUMPY
from gateway.sampling.row import SampleRow
from gateway.snapshot.document import MaskRule
from gateway.types import STREAM_INFER
from gateway.upstream.tensors import TensorSpec, VersionTensors
from gateway.wire import FIXED_32, VARINT, tag_of, varint, written, written_all
from tests.sampling.calls import MAX_BYTES, captured, inputs, kept, numbers, outputs
from tests.sampling.test_reading import strings

KEEP_ALL = (MaskRule("keep", tensor="*"), MaskRule("keep", path="$"))
TYPED: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "BOOL": ("bool_contents", st.booleans()),
    "INT8": ("int_contents", st.integers(-(2**31), 2**31 - 1)),
    "INT32": ("int_contents", st.integers(-(2**31), 2**31 - 1)),
    "INT64": ("int64_contents", st.integers(-(2**63), 2**63 - 1)),
    "UINT16": ("uint_contents", st.integers(0, 2**32 - 1)),
    "UINT64": ("uint64_contents", st.integers(0, 2**64 - 1)),
    "FP32": ("fp32_contents", st.floats(width=32)),
    "FP64": ("fp64_contents", st.floats()),
    "BYTES": ("bytes_contents", st.text(st.sampled_from("abcÄé "), max_size=5).map(str.encode)),
}
SPECS = tuple(TensorSpec(name.lower(), name) for name in (*NUMPY, "BYTES"))
KNOWN = VersionTensors(SPECS, SPECS)


def read(
    request: bytes = b"",
    reply: bytes = b"",
    *,
    streamed: bool = False,
    rules: tuple[MaskRule, ...] = KEEP_ALL,
) -> SampleRow:
    """The masked row of a call over gRPC."""
    operation = STREAM_INFER.name if streamed else "infer"
    return kept(captured(request, reply, protocol="grpc", operation=operation), *rules, known=KNOWN)


@st.composite
def parameters(draw: st.DrawFn) -> dict[str, service_pb2.InferParameter]:
    """Parameters of any kind, or of none."""
    kinds: list[tuple[str, st.SearchStrategy[Any]]] = [
        ("bool_param", st.booleans()),
        ("int64_param", st.integers(-1000, 1000)),
        ("string_param", st.text(st.sampled_from("abc"), max_size=5)),
        ("double_param", st.floats(-1, 1)),
        ("uint64_param", st.integers(0, 1000)),
    ]
    found = {}
    for key in draw(st.lists(st.sampled_from("xyz"), max_size=3, unique=True)):
        kind, values = draw(st.sampled_from(kinds))
        found[key] = service_pb2.InferParameter(**draw(st.sampled_from(({}, {kind: draw(values)}))))
    return found


@st.composite
def requests(draw: st.DrawFn) -> service_pb2.ModelInferRequest:
    """A request whose tensors are all raw, or all typed."""
    message = service_pb2.ModelInferRequest(model_name="a", id=draw(st.sampled_from(("", "mine"))))
    for key, parameter in draw(parameters()).items():
        message.parameters[key].CopyFrom(parameter)
    raw = draw(st.booleans())
    for datatype in draw(
        st.lists(st.sampled_from([*sorted(NUMPY), "BYTES"] if raw else sorted(TYPED)), max_size=4)
    ):
        tensor = message.inputs.add(name=datatype.lower(), datatype=datatype)
        tensor.parameters["k"].bool_param = True
        if raw and datatype != "BYTES":
            size = np.dtype(NUMPY[datatype]).itemsize
            count = draw(st.integers(0, 4))
            tensor.shape.append(count)
            message.raw_input_contents.append(draw(st.binary(min_size=count * size, max_size=count * size)))
            continue
        field, values = TYPED[datatype]
        elements: list[Any] = draw(st.lists(values, max_size=4))
        tensor.shape.extend((1, len(elements)))
        if raw:
            message.raw_input_contents.append(strings(*elements))
        else:
            getattr(tensor.contents, field).extend(elements)
    return message


def by_library(message: service_pb2.ModelInferRequest) -> list[tuple[str, list[int], list[Any]]]:
    """The tensors of a message: datatype, shape and elements."""
    found = []
    raws = iter(message.raw_input_contents)
    for tensor in message.inputs:
        if message.raw_input_contents and tensor.datatype != "BYTES":
            elements = np.frombuffer(next(raws), NUMPY[tensor.datatype]).astype("f8").tolist()
        elif message.raw_input_contents:
            elements, raw = [], next(raws)
            while raw:
                (length,) = struct.unpack_from("<I", raw)
                elements.append(raw[4 : 4 + length])
                raw = raw[4 + length :]
        else:
            elements = list(getattr(tensor.contents, TYPED[tensor.datatype][0]))
        found.append((tensor.datatype, list(tensor.shape), elements))
    return found


def same(kept_values: list[Any], elements: list[Any]) -> bool:
    """Elements as they are kept: doubles, but for cards."""
    return all(
        math.isnan(one) if isinstance(one, float) and math.isnan(one) else one == float(other)
        for one, other in zip(kept_values, elements, strict=True)
    )  # fmt: skip


@given(requests())
def test_a_request_holds_what_the_library_finds_in_it(message: service_pb2.ModelInferRequest) -> None:
    """Every datatype, raw and typed; id and parameters as rules name them; text element by element."""
    row = read(message.SerializeToString())
    assert row.inputs_missing is None
    for tensor, (datatype, shape, elements) in zip(row.inputs or (), by_library(message), strict=True):
        assert (tensor.name, tensor.datatype, list(tensor.shape)) == (datatype.lower(), datatype, shape)
        if datatype == "BYTES":
            assert tensor.texts == tuple(element.decode() for element in elements)
            assert tensor.lengths == tuple(map(len, elements))
        else:
            assert same(numbers(tensor), elements)
    document = json.loads(row.request_json or "{}")
    assert document.get("id", "") == message.id
    assert document.get("parameters", {}) == {
        key: getattr(value, value.WhichOneof("parameter_choice") or "", None)
        for key, value in message.parameters.items()
    }


@given(requests(), st.data())
def test_whatever_is_read_is_what_the_library_reads(
    message: service_pb2.ModelInferRequest, data: st.DataObject
) -> None:
    """Of a message that is damaged anywhere: nothing and a reason, or the library's tensors; never a fault."""
    whole = bytearray(message.SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    damaged = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    row = read(damaged, damaged, streamed=data.draw(st.booleans()))
    assert row.outputs_missing in (None, "unreadable", "unknown_tensor")
    if row.inputs_missing is not None:
        assert row.inputs_missing in ("unreadable", "unknown_tensor")
        return
    try:
        found = service_pb2.ModelInferRequest.FromString(damaged)
    except DecodeError:
        return  # what is wrong lies in a part that no sample holds
    assert [(t.datatype, list(t.shape)) for t in row.inputs or ()] == [
        (t.datatype, list(t.shape)) for t in found.inputs
    ]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40), st.integers(0, 40))
@example([], 0)
def test_numbers_may_stand_packed_or_one_by_one(values: list[int], packed: int) -> None:
    """Both are protobuf, in one message too, and contents that stand there twice are put together."""
    first, rest = values[:packed], values[packed:]
    typed = written(5, b"".join(map(varint, first)))
    single = b"".join(written(5, value) for value in rest)
    tensor = written(1, "uint64") + written(2, "UINT64") + written(5, typed) + written(5, single)
    data = written(5, tensor + varint(tag_of(3, VARINT)) + varint(len(values)))
    (found,) = service_pb2.ModelInferRequest.FromString(data).inputs
    assert list(found.contents.uint64_contents) == values
    row = read(data, rules=(MaskRule("hash", tensor="*"),))
    plain = read(data)
    assert (plain.inputs_missing, inputs(plain)["uint64"].shape) == (None, (len(values),))
    assert same(numbers(inputs(plain)["uint64"]), values)
    assert len(inputs(row)["uint64"].texts or ()) == len(values)


def reply(*tensors: tuple[str, list[int], bytes], **fields: Any) -> service_pb2.ModelInferResponse:
    """A reply with raw tensors: datatype, shape, bytes."""
    made = service_pb2.ModelInferResponse(model_name="m", model_version="2", **fields)
    for datatype, shape, raw in tensors:
        made.outputs.add(name=datatype.lower(), datatype=datatype, shape=shape)
        made.raw_output_contents.append(raw)
    return made


def stream(*replies: service_pb2.ModelInferResponse | str) -> bytes:
    """Messages of a stream, one behind the other; a text is an error."""
    made = (
        service_pb2.ModelStreamInferResponse(error_message=each)
        if isinstance(each, str)
        else service_pb2.ModelStreamInferResponse(infer_response=each)
        for each in replies
    )
    return b"".join(each.SerializeToString() for each in made)


def test_a_reply_holds_its_outputs() -> None:
    """Raw, with what stands beside them."""
    message = reply(("FP32", [1, 2], struct.pack("<2f", 0.25, 0.75)), id="mine")
    row = read(reply=message.SerializeToString())
    assert numbers(outputs(row)["fp32"]) == [0.25, 0.75]
    assert row.reply_json == '{"id": "mine"}'


def test_replies_of_a_stream_are_one_sample() -> None:
    """Numbers are a tensor for each reply; text is joined, also where a character or an address is cut; errors are left out."""
    pieces = [b"Gr\xc3", b"\xbc\xc3\x9fe, write to a", b"@b.example"]
    messages = stream(
        *(
            reply(("BYTES", [1], strings(piece)), ("INT32", [1], struct.pack("<i", n)))
            for n, piece in enumerate(pieces)
        ),
        "no such user john.doe",
        reply(id="last"),
    )
    row = read(reply=messages, streamed=True)
    assert [numbers(tensor) for tensor in row.outputs or () if tensor.datatype == "INT32"] == [[0], [1], [2]]
    (text,) = [tensor for tensor in row.outputs or () if tensor.datatype == "BYTES"]
    assert (text.texts, text.lengths) == (("Grüße, write to [email]",), (len(b"".join(pieces)),))
    assert row.reply_json == '{"id": "last"}'
    assert "john" not in repr(row)
    off = read(reply=messages, streamed=True, rules=())
    assert (outputs(off)["bytes"].texts, outputs(off)["bytes"].masked, off.reply_json) == (None, "text", None)


def test_text_of_another_shape_is_another_text() -> None:
    """Elements are joined with their own kind alone."""
    row = read(
        reply=stream(reply(("BYTES", [1], strings(b"a"))), reply(("BYTES", [2], strings(b"b", b"c"))),
                     reply(("BYTES", [2], strings(b"d", b"e")))),
        streamed=True,
    )  # fmt: skip
    assert [tensor.texts for tensor in row.outputs or ()] == [("a",), ("bd", "ce")]


def test_rules_hold_as_over_http() -> None:
    """By tensor and part, with text off; cards among numbers go whatever rules say."""
    message = service_pb2.ModelInferRequest(model_name="a", id="call 030 901820-11")
    message.inputs.add(name="int64", datatype="INT64", shape=[2]).contents.int64_contents.extend(
        (4012888888881881, 7)
    )
    message.inputs.add(name="bytes", datatype="BYTES", shape=[1]).contents.bytes_contents.append(
        b"a@b.example"
    )
    message.inputs.add(name="fp32", datatype="FP32", shape=[1]).contents.fp32_contents.append(2)
    message.parameters["lang"].string_param = "de"
    message.parameters["who"].string_param = "Rumpelstilz"
    data = message.SerializeToString()
    row = read(
        data,
        rules=(MaskRule("drop", tensor="fp32", part="request"), MaskRule("keep", path="$.parameters.lang")),
    )
    assert set(inputs(row)) == {"int64", "bytes"}
    assert math.isnan(numbers(inputs(row)["int64"])[0])
    assert (inputs(row)["bytes"].texts, inputs(row)["bytes"].lengths) == (None, (11,))
    assert row.request_json == '{"parameters": {"lang": "de"}}'
    assert inputs(read(data))["bytes"].texts == ("[email]",)


HEAD = written(1, "fp32") + written(2, "FP32")
ONE = HEAD + written(3, b"\x01")


def message(tensor: bytes, *raws: bytes, rest: bytes = b"") -> bytes:
    """A request with one tensor, these raw contents, and what else stands behind them."""
    return written(5, tensor) + written_all(7, raws) + rest


@pytest.mark.parametrize(
    "bad",
    [
        message(ONE), message(ONE, b"1234", b"1234"), message(ONE, b"123"), message(ONE, b"12345678"),
        message(ONE, b"1234", rest=b"\xff"), message(ONE, b"1234", rest=written(4, b"\x0a\xff")),
        message(ONE, b"1234", rest=written(3, b"\xff\xfe")),
        message(ONE, b"1234", rest=written(4, written(1, "k") + written(2, written(3, b"\xff")))),
        message(HEAD + written(3, b"\x81"), b"1234"), message(HEAD + written(3, b"\xff" * 11 + b"\x01"), b"1234"),
        message(HEAD + written(3, varint(2**40)), b"1234"), message(HEAD + written(3, b"\x01" * 65), b"1234"),
        message(HEAD + written(3, varint(2**64 - 1)), b"1234"), message(ONE + written(5, written(6, b"123"))),
        message(written(1, "bytes") + written(2, "BYTES") + written(3, b"\x01"), b"\xff\xff\xff\xff"),
        message(written(1, "fp16") + written(2, "FP16") + written(5, written(6, b"1234"))),
        message(written(1, "fp32") + written(2, "no type"), b"1234"),
        message(written(1, "int64") + written(2, "INT64") + written(3, b"\x01") + written(5, written(3, b"\x80"))),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_left_out(bad: bytes) -> None:
    """Too few elements or too many, cut short, no UTF-8, shapes that cannot be, another datatype: the row stays, with its reason."""
    row = read(bad, stream(reply()) + b"\x12\x05", streamed=True)
    assert (row.inputs, row.inputs_missing, row.outcome) == (None, "unreadable", "ok")
    assert (row.outputs, row.outputs_missing) == (None, "unreadable")


def test_a_name_that_is_not_the_models_is_the_callers_text() -> None:
    """As over HTTP, on either side of a call."""
    message = service_pb2.ModelInferRequest()
    message.inputs.add(name="john.doe", datatype="FP32", shape=[0])
    answer = service_pb2.ModelInferResponse()
    answer.outputs.add(name="john.doe", datatype="FP32", shape=[0])
    row = read(message.SerializeToString(), answer.SerializeToString())
    assert (row.inputs_missing, row.outputs_missing) == ("unknown_tensor", "unknown_tensor")


def test_a_field_that_says_compressed_is_the_callers_own() -> None:
    """A message comes unpacked from gRPC; a `content-encoding` among its metadata says nothing."""
    sent = message(ONE, struct.pack("<f", 2))
    found = captured(sent, b"", protocol="grpc", request_headers=b"content-encoding: gzip\r\n",
                     reply_headers=((b"content-encoding", b"gzip"),))  # fmt: skip
    row = kept(found, known=KNOWN)
    assert (row.inputs_missing, row.outputs_missing, row.outputs) == (None, None, ())


def test_the_largest_message_is_read_in_bounded_time() -> None:
    """As many fields as fit into a sample."""
    single = varint(tag_of(6, FIXED_32)) + b"1234"
    count = (MAX_BYTES - 100) // len(single)
    typed = HEAD + written(3, varint(count)) + written(5, single * count)
    texts = (
        written(1, "bytes")
        + written(2, "BYTES")
        + written(3, varint(MAX_BYTES // 2))
        + written(5, written(8, b"") * (MAX_BYTES // 2))
    )
    for largest in (message(typed), message(texts), message(b"") * (MAX_BYTES // 2)):
        began = time.thread_time()
        read(largest, largest)
        assert time.thread_time() - began < 2.0
