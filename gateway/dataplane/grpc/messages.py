"""What the gateway reads of the messages of `inference.GRPCInferenceService`, and the few that it writes itself.

Field numbers are those of Triton's grpc_service.proto. Of a request only its first names, its parameters and the shape of its
first input are looked at; tensors are stepped over.
"""

from collections.abc import Iterable

import msgspec

from gateway.dataplane.sequences.asked import Asked, asked_of
from gateway.errors import GatewayError, Kind, Source
from gateway.types import Alias, Target
from gateway.wire import (
    VARINT,
    Malformed,
    Scan,
    Value,
    first_number,
    signed,
    tag_of,
    text_of,
    written,
    written_all,
)

# Every request about a model: its name and version.
_NAME, _VERSION = tag_of(1), tag_of(2)
# ModelInferRequest.
_ID, _PARAMETERS, _INPUTS, _OUTPUTS = tag_of(3), tag_of(4), tag_of(5), tag_of(6)
# ModelInferRequest.InferInputTensor and .InferRequestedOutputTensor.
_SHAPE, _SHAPE_UNPACKED = tag_of(3), tag_of(3, VARINT)
_INPUT_PARAMETERS, _OUTPUT_PARAMETERS = tag_of(4), tag_of(2)
# An entry of a map<string, InferParameter>, and InferParameter.
_KEY, _VALUE = tag_of(1), tag_of(2)
_BOOL, _INT64, _STRING, _UINT64 = tag_of(1, VARINT), tag_of(2, VARINT), tag_of(3), tag_of(5, VARINT)
_CHOICES = frozenset({_BOOL, _INT64, _STRING, tag_of(4, 1), _UINT64})

_REGION = b"shared_memory_region"
_SEQUENCE = (b"sequence_id", b"sequence_start", b"sequence_end")
# ModelStreamInferResponse, and ModelInferResponse within it.
_ERROR, _REPLY = tag_of(1), tag_of(2)

Parameter = tuple[int, Value] | None


class Named(msgspec.Struct, frozen=True, gc=False):
    """What every request about a model says: its name and version, as they stand there."""

    name: str
    version: str


class InferHead(msgspec.Struct, frozen=True, gc=False):
    """What the gateway needs of an inference request. `id` is the caller's own, `rows` are those of the batch, at least 1.

    `timeout_s` is the protocol's parameter, in seconds; None where there is none. `sequence` is the one that it is part of.
    """

    name: str
    version: str
    id: str
    rows: int
    timeout_s: float | None
    sequence: Asked | None


def read_named(message: bytes) -> Named:
    """The model that a request names. Raises BAD_REQUEST for what is no message."""
    name = version = ""
    try:
        for tag, value in Scan().fields(memoryview(message)):
            if tag == _NAME:
                name = text_of(value)
            elif tag == _VERSION:
                version = text_of(value)
    except Malformed as error:
        raise _no_message(error) from error
    return Named(name, version)


def read_infer(message: bytes) -> InferHead:
    """What a `ModelInferRequest` says. Raises BAD_REQUEST for what is none, and where it names a shared-memory region."""
    name = version = ""
    rows: int | None = None
    timeout: Parameter = None
    sequence: dict[bytes, Parameter] | None = None
    request_id = ""
    scan = Scan()
    try:
        for tag, value in scan.fields(memoryview(message)):
            if tag == _NAME:
                name = text_of(value)
            elif tag == _VERSION:
                version = text_of(value)
            elif tag == _ID:
                request_id = text_of(value)
            elif tag == _PARAMETERS:
                key, parameter = _parameter(scan, value)
                if key == b"timeout":
                    timeout = parameter
                elif key in _SEQUENCE:
                    sequence = sequence or {}
                    sequence[key] = parameter
            elif tag == _INPUTS:
                found = _input_rows(scan, value)
                rows = found if rows is None else rows
            elif tag == _OUTPUTS:
                _look_for_region(scan, value, _OUTPUT_PARAMETERS)
        asked = _asked(sequence)
    except Malformed as error:
        raise _no_message(error) from error
    return InferHead(name, version, request_id, max(1, rows or 1), _timeout_s(timeout), asked)


def _input_rows(scan: Scan, entry: Value) -> int:
    """The first dimension of an input; 0 where it has none."""
    rows: int | None = None
    for tag, value in scan.fields(_bytes(entry)):
        if tag in (_SHAPE, _SHAPE_UNPACKED):
            rows = first_number(value) if rows is None else rows
        elif tag == _INPUT_PARAMETERS:
            _parameter(scan, value)
    return 0 if rows is None else signed(rows)


def _look_for_region(scan: Scan, entry: Value, parameters: int) -> None:
    for tag, value in scan.fields(_bytes(entry)):
        if tag == parameters:
            _parameter(scan, value)


def _parameter(scan: Scan, entry: Value) -> tuple[bytes, Parameter]:
    """One parameter: its key, and which of the kinds of value it has. Raises BAD_REQUEST for a shared-memory region."""
    key = b""
    found: Parameter = None
    for tag, value in scan.fields(_bytes(entry)):
        if tag == _KEY:
            key = bytes(_bytes(value))
        elif tag == _VALUE:
            # A message that stands there twice is merged: what comes last counts all the same.
            for kind, chosen in scan.fields(_bytes(value)):
                if kind in _CHOICES:
                    found = (kind, chosen)
    if key == _REGION:
        raise GatewayError(
            Kind.BAD_REQUEST, "The request names a shared-memory region; send the tensors themselves."
        )
    return key, found


def _timeout_s(parameter: Parameter) -> float | None:
    if parameter is None:
        return None
    kind, number = parameter
    if not isinstance(number, int):
        return None
    micros = signed(number) if kind == _INT64 else number if kind == _UINT64 else 0
    return micros / 1e6 if micros > 0 else None


def _asked(parameters: dict[bytes, Parameter] | None) -> Asked | None:
    """Triton takes an int64 or a text for the id, and booleans beside it. Raises BAD_REQUEST for an id of another kind, which
    would reach a server as its caller wrote it.
    """
    if parameters is None:
        return None
    kind, found = parameters.get(_SEQUENCE[0]) or (0, 0)
    if kind not in (0, _STRING, _INT64):
        raise GatewayError(
            Kind.BAD_REQUEST, "Parameter 'sequence_id' must be an int64_param or a string_param."
        )
    name: object = text_of(found) if kind == _STRING else found if kind == _INT64 else None
    start, end = (parameters.get(key) == (_BOOL, 1) for key in _SEQUENCE[1:])
    return asked_of(name, start, end)


def _bytes(value: Value) -> memoryview:
    assert isinstance(value, memoryview)
    return value


def _no_message(error: Malformed) -> GatewayError:
    return GatewayError(Kind.BAD_REQUEST, f"This is no message of the protocol: {error}.")


def numbered(sequence_id: int | str, *, streamed: bool = False) -> bytes:
    """What gives a message that it stands behind this id: a request, a reply, or (`streamed`) one within a reply of a stream."""
    choice = written(3, sequence_id) if isinstance(sequence_id, str) else written(2, sequence_id)
    entry = written(4, written(1, _SEQUENCE[0]) + written(2, choice))
    return written(2, entry) if streamed else entry


# --- replies ---


def is_told(message: bytes, *, streamed: bool) -> bool:
    """Whether a reply, or (`streamed`) the one within a reply of a stream, has a sequence's id among its parameters."""
    scan = Scan()
    try:
        if streamed:
            inner = (value for tag, value in scan.fields(memoryview(message)) if tag == _REPLY)
            return any(_tells(scan, _bytes(value)) for value in inner)
        return _tells(scan, memoryview(message))
    except Malformed:
        # Whatever this is, its caller will say so.
        return False


def _tells(scan: Scan, reply: memoryview) -> bool:
    return any(
        tag == _PARAMETERS and _parameter(scan, value)[0] == _SEQUENCE[0] for tag, value in scan.fields(reply)
    )


def error_words(message: bytes) -> str:
    """What a reply of a stream says is wrong; empty where nothing is."""
    if message[:1] != bytes([_ERROR]):
        return ""
    try:
        return "".join(text_of(value) for tag, value in Scan().fields(memoryview(message)) if tag == _ERROR)
    except Malformed:
        return ""


def said_again(words: str) -> bytes:
    """What gives the reply of a stream that it stands behind these words."""
    return written(1, words)


READY = written(1, 1)
"""`ServerLiveResponse`, `ServerReadyResponse` and `ModelReadyResponse` that say yes; no is an empty message."""


def stream_error(words: str, request_id: str) -> bytes:
    """A `ModelStreamInferResponse` that is an error; its reply says, as Triton's does, which request it belongs to."""
    return written(1, words) + written(2, written(3, request_id) if request_id else b"")


def server_metadata(name: str, version: str, extensions: Iterable[str]) -> bytes:
    """A `ServerMetadataResponse`."""
    return written(1, name) + written(2, version) + written_all(3, extensions)


def metadata_of_alias(body: bytes, alias: Alias, target: Target) -> bytes:
    """A `ModelMetadataResponse` with the alias as `name` and its live versions as `versions`; all else as Triton says it."""
    kept = [written(1, alias.name), written_all(2, (str(version) for version in sorted(alias.live)))]
    try:
        for tag, value in Scan().fields(memoryview(body)):
            if tag not in (_NAME, _VERSION) and isinstance(value, memoryview):
                kept.append(written(tag >> 3, bytes(value)))
    except Malformed as error:
        raise GatewayError(
            Kind.BAD_GATEWAY, "The model's server sent metadata that is no message.", source=Source.UPSTREAM
        ) from error
    return b"".join(kept)
