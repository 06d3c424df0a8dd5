"""Reads inference requests and replies over gRPC by their wire format: tensors raw, or as typed contents.

Field numbers are those of Triton's grpc_service.proto. Whoever captures a message bounds it, and so every field is looked at.
"""

import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.sampling import elements, typed_contents
from gateway.sampling.content import Content, NotKept, Tensor
from gateway.upstream.tensors import TensorSpec, VersionTensors
from gateway.wire import FIXED_64, VARINT, Malformed, Scan, Value, numbers, signed, tag_of, text_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

# ModelInferRequest and ModelInferResponse.
_ID, _PARAMETERS, _TENSORS = tag_of(3), tag_of(4), tag_of(5)
_RAW_INPUT, _RAW_OUTPUT = tag_of(7), tag_of(6)
# ModelStreamInferResponse.
_RESPONSE = tag_of(2)
# InferInputTensor and InferOutputTensor.
_NAME, _DATATYPE, _SHAPE, _SHAPE_UNPACKED, _CONTENTS = (
    tag_of(1),
    tag_of(2),
    tag_of(3),
    tag_of(3, VARINT),
    tag_of(5),
)
# An entry of a map<string, InferParameter>, and InferParameter.
_KEY, _VALUE = tag_of(1), tag_of(2)
_BOOL, _INT64, _STRING = tag_of(1, VARINT), tag_of(2, VARINT), tag_of(3)
_DOUBLE, _UINT64 = tag_of(4, FIXED_64), tag_of(5, VARINT)

_FLOAT = struct.Struct("<d")


class _Entry(msgspec.Struct, eq=False):
    """One tensor of a message, not read yet: its elements stand in `raw`, or else in `contents`."""

    name: str
    datatype: str
    shape: list[int]
    contents: list[memoryview]
    raw: memoryview | None = None

    def texts(self, scan: Scan) -> list[bytes]:
        return typed_contents.texts(scan, self.contents) if self.raw is None else elements.texts(self.raw)

    def numbers(self, scan: Scan) -> "NDArray[Any]":
        if self.raw is None:
            return typed_contents.numbers(scan, self.datatype, self.contents)
        return elements.numbers(self.datatype, self.raw)

    def tensor(self, scan: Scan) -> Tensor:
        if self.datatype == "BYTES":
            return elements.from_texts(self.name, self.shape, self.texts(scan))
        return elements.from_numbers(self.name, self.datatype, self.shape, self.numbers(scan))


def read_request(message: bytes, known: VersionTensors) -> Content:
    """The inputs of a `ModelInferRequest`. Raises `NotKept`."""
    return _one(message, _RAW_INPUT, known.inputs)


def read_reply(message: bytes, known: VersionTensors) -> Content:
    """The outputs of a `ModelInferResponse`. Raises `NotKept`."""
    return _one(message, _RAW_OUTPUT, known.outputs)


def read_replies(messages: bytes, known: VersionTensors) -> Content:
    """The outputs of all replies to one message of a stream: `ModelStreamInferResponse`s, one behind the other.

    Numbers are one tensor for each reply. Text is joined over the replies, element by element, where it has the same shape,
    since a name or a character may be cut by the end of a reply. Of what stands beside tensors the last value counts.
    Raises `NotKept`.
    """
    scan = Scan(len(messages))
    whole = Content([], {})
    texts: dict[tuple[str, tuple[int, ...]], list[bytearray]] = {}
    try:
        for reply in [value for tag, value in scan.fields(memoryview(messages)) if tag == _RESPONSE]:
            entries, document = _read(scan, reply, _RAW_OUTPUT, known.outputs)
            whole.document.update(document)
            for entry in entries:
                if entry.datatype == "BYTES":
                    _join(texts, entry, scan)
                else:
                    whole.tensors.append(entry.tensor(scan))
    except Malformed as error:
        raise NotKept("unreadable") from error
    whole.tensors += [elements.from_texts(name, list(shape), found) for (name, shape), found in texts.items()]
    return whole


def _join(texts: dict[tuple[str, tuple[int, ...]], list[bytearray]], entry: _Entry, scan: Scan) -> None:
    pieces = entry.texts(scan)
    found = texts.setdefault((entry.name, tuple(entry.shape)), [bytearray() for _ in pieces])
    if len(found) != len(pieces):
        raise NotKept("unreadable")
    for text, piece in zip(found, pieces, strict=True):
        text.extend(piece)


def _one(message: bytes, raw: int, known: tuple[TensorSpec, ...]) -> Content:
    scan = Scan(len(message))
    try:
        entries, document = _read(scan, memoryview(message), raw, known)
        return Content([entry.tensor(scan) for entry in entries], document)
    except Malformed as error:
        raise NotKept("unreadable") from error


def _read(
    scan: Scan, message: Value, raw: int, known: tuple[TensorSpec, ...]
) -> tuple[list[_Entry], dict[str, Any]]:
    """The tensors of a message, whose bytes stand in fields `raw`, and what rules may name by path."""
    entries: list[_Entry] = []
    raws: list[memoryview] = []
    parameters: dict[str, Any] = {}
    message_id = ""
    for tag, value in scan.fields(_bytes(message)):
        if tag == _ID:
            message_id = text_of(value)
        elif tag == _PARAMETERS:
            key, parameter = _parameter(scan, value)
            parameters[key] = parameter
        elif tag == _TENSORS:
            entries.append(_entry(scan, value))
        elif tag == raw:
            raws.append(_bytes(value))
    _check_names(entries, known)
    if raws:
        if len(raws) != len(entries):
            raise NotKept("unreadable")
        for entry, data in zip(entries, raws, strict=True):
            entry.raw = data
    document: dict[str, Any] = {"id": message_id} if message_id else {}
    return entries, document | ({"parameters": parameters} if parameters else {})


def _check_names(entries: Iterable[_Entry], known: tuple[TensorSpec, ...]) -> None:
    """A name that is not the model's is the caller's text."""
    names = {spec.name for spec in known}
    if any(entry.name not in names for entry in entries):
        raise NotKept("unknown_tensor")


def _entry(scan: Scan, message: Value) -> _Entry:
    name = datatype = ""
    shape: list[int] = []
    found: list[memoryview] = []
    for tag, value in scan.fields(_bytes(message)):
        if tag == _NAME:
            name = text_of(value)
        elif tag == _DATATYPE:
            datatype = text_of(value)
        elif tag in (_SHAPE, _SHAPE_UNPACKED):
            shape += map(signed, numbers(value))
        elif tag == _CONTENTS:
            found.append(_bytes(value))
    return _Entry(name, datatype, shape, found)


def _parameter(scan: Scan, entry: Value) -> tuple[str, Any]:
    """One parameter's key, and its value of whichever kind; None where it has none."""
    key = ""
    found: Any = None
    for tag, value in scan.fields(_bytes(entry)):
        if tag == _KEY:
            key = text_of(value)
        elif tag == _VALUE:
            for kind, choice in scan.fields(_bytes(value)):
                if kind == _BOOL:
                    found = choice != 0
                elif kind == _INT64 and isinstance(choice, int):
                    found = signed(choice)
                elif kind == _STRING:
                    found = text_of(choice)
                elif kind == _DOUBLE:
                    (found,) = _FLOAT.unpack(_bytes(choice))
                elif kind == _UINT64:
                    found = choice
    return key, found


def _bytes(value: Value) -> memoryview:
    assert isinstance(value, memoryview)
    return value
