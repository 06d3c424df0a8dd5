"""An inference request, taken apart: JSON header, binary tensors, requested outputs. Nothing is held against the model yet.

The order of the checks is Triton's, so that a request with several faults gets the same answer.
"""

from typing import Any

import msgspec
import numpy as np

from gateway.upstream.embedded.datatypes import BY_NAME, DataType
from gateway.upstream.embedded.document import (
    as_array,
    as_bool,
    as_string,
    as_unsigned,
    decode,
    member,
    optional,
)
from gateway.upstream.embedded.messages import Body, Refusal
from gateway.upstream.embedded.responses import Asker
from gateway.upstream.embedded.sequences import NO_SEQUENCE, Sequence
from gateway.upstream.embedded.tensors import from_json

MAX_DIMENSIONS = 32
"""numpy's limit on the rank of an array, and far more than any tensor has."""

UNKNOWN_ID = "<id_unknown>"


class ReceivedInput(msgspec.Struct):
    """One input as sent. `payload` is a flat array (JSON) or the raw bytes (binary)."""

    name: str
    datatype: DataType | None
    shape: tuple[int, ...]
    payload: np.ndarray[Any, Any] | memoryview


class RequestedOutput(msgspec.Struct):
    """How the caller wants one output: binary or JSON, and as how many best classes (0: as it is)."""

    binary: bool
    classes: int


class InferCall(msgspec.Struct):
    """A request taken apart. An empty `outputs` means all of them, in the form that `binary_default` says."""

    request_id: str = ""
    inputs: dict[str, ReceivedInput] = msgspec.field(default_factory=dict)
    outputs: dict[str, RequestedOutput] = msgspec.field(default_factory=dict)
    binary_default: bool = False
    raw: memoryview | None = None
    sequence: Sequence = NO_SEQUENCE
    asker: Asker = msgspec.field(default_factory=Asker)

    @property
    def shown_id(self) -> str:
        """The id as error texts show it."""
        return self.request_id or UNKNOWN_ID


def fault(call: InferCall, words: str) -> Refusal:
    """A refusal that names the request, as Triton's core words them."""
    return Refusal(400, f"[request id: {call.shown_id}] {words}")


def header_length(value: bytes | None, body_bytes: int) -> int:
    """The length of the JSON part, from `Inference-Header-Content-Length`; without the field, the whole body."""
    if value is None:
        return body_bytes
    shown = value[:64].decode("ascii", "replace")
    if not value.isdigit():
        raise Refusal(400, f"Unable to parse Inference-Header-Content-Length, got: {shown}")
    # Twenty digits are more than any body has bytes; int() of a million digits would take seconds.
    if len(value) > 20 or int(value) > body_bytes:
        raise Refusal(400, f"inference header size should be in range (0, {body_bytes}), got: {shown}")
    return int(value)


def take_apart(body: Body, json_bytes: int, model: str) -> InferCall:
    """Reads the request. A JSON part of length 0 makes the whole body the one input of the model. Raises Refusal."""
    view = memoryview(body)
    if json_bytes == 0:
        return InferCall(raw=view, binary_default=True)
    document = decode(view[:json_bytes])
    call = InferCall()
    request_id = optional(document, "id")
    if request_id is not None:
        call.request_id = as_string(request_id, "id")
    parameters = optional(document, "parameters")
    if parameters is not None:
        read_parameters(call, parameters)
    rest = view[json_bytes:]
    for entry in as_array(member(document, "inputs"), "inputs"):
        received, rest = _read_input(entry, rest, model)
        if received.name in call.inputs:
            raise fault(call, f"input '{received.name}' already exists in request")
        call.inputs[received.name] = received
    if rest:
        raise Refusal(400, f"unexpected additional input data for model '{model}'")
    outputs = optional(document, "outputs")
    if outputs is not None:
        for entry in as_array(outputs, "outputs"):
            # Named twice, an output keeps its first form.
            call.outputs.setdefault(as_string(member(entry, "name"), "name"), _read_output(entry))
    return call


def read_parameters(call: InferCall, parameters: Any) -> None:
    """Checks the request's parameters and keeps those that matter here."""
    if type(parameters) is not dict:
        raise Refusal(400, "failed to get request params.: attempt to get members for non-object")
    for key, value in parameters.items():
        if key in ("priority", "timeout"):
            as_unsigned(value, key)
        elif key in ("sequence_start", "sequence_end", "binary_data_output"):
            as_bool(value, key)
        elif key == "sequence_id":
            if type(value) is not int or not 0 <= value < 2**64:
                as_string(value, key)
        elif key.startswith("triton_"):
            raise Refusal(
                400,
                "parameter keys starting with 'triton_' are reserved for Triton usage and should not be specified.",
            )
        else:
            check_parameter(key, value)
    call.binary_default = bool(parameters.get("binary_data_output", False))
    if "sequence_id" in parameters:
        start, end = (bool(parameters.get(key, False)) for key in ("sequence_start", "sequence_end"))
        call.sequence = Sequence(parameters["sequence_id"], start, end)


def check_parameter(key: str, value: Any) -> None:
    """Refuses a custom parameter that is not a number, a boolean or a string."""
    if type(value) not in (int, float, bool, str):
        raise Refusal(
            400, f"parameter '{key[:128]}' has invalid type. It should be either 'int', 'bool', or 'string'."
        )


_DATA_FIELDS = (
    "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', "
    "'shared_memory_region' in 'parameters'. But"
)


def _read_input(entry: Any, rest: memoryview, model: str) -> tuple[ReceivedInput, memoryview]:
    data, parameters = optional(entry, "data"), optional(entry, "parameters")
    size, region = optional(parameters, "binary_data_size"), optional(parameters, "shared_memory_region")
    fields = {"data": data, "binary_data_size": size, "shared_memory_region": region}
    present = [f"'{field}'" for field, value in fields.items() if value is not None]
    if len(present) != 1:
        raise Refusal(400, f"{_DATA_FIELDS} {'set ' + ' '.join(present) if present else 'no field is set'}")
    name = as_string(member(entry, "name"), "name")
    type_name = as_string(member(entry, "datatype"), "datatype")
    shape = _read_shape(member(entry, "shape"))
    datatype = BY_NAME.get(type_name)
    if region is not None:
        raise _no_region(region)
    if size is None:
        if datatype is None:
            raise Refusal(400, f"invalid datatype for input {name}")
        elements = from_json(name, as_array(data, "data"), datatype, element_count(shape))
        return ReceivedInput(name, datatype, shape, elements), rest
    byte_size = as_unsigned(size, "binary_data_size")
    if byte_size > len(rest):
        missing = byte_size - len(rest)
        raise Refusal(
            400,
            f"unexpected size for input '{name}', expecting {missing} additional bytes for model '{model}'",
        )
    return ReceivedInput(name, datatype, shape, rest[:byte_size]), rest[byte_size:]


def _no_region(region: Any) -> Refusal:
    return Refusal(
        400, f"Unable to find shared memory region: '{as_string(region, 'shared_memory_region')[:128]}'"
    )


def _read_shape(value: Any) -> tuple[int, ...]:
    dims = as_array(value, "shape")
    if len(dims) > MAX_DIMENSIONS:
        raise Refusal(400, f"Unable to parse 'shape': {len(dims)} dimensions are more than {MAX_DIMENSIONS}")
    return tuple(as_unsigned(dim, "shape") for dim in dims)


def element_count(shape: tuple[int, ...]) -> int:
    """The product of the dimensions; at most 32 numbers of 64 bits, so it may be huge but not slow."""
    count = 1
    for dim in shape:
        count *= dim
    return count


def _read_output(entry: Any) -> RequestedOutput:
    parameters = optional(entry, "parameters")
    binary, classes = optional(parameters, "binary_data"), optional(parameters, "classification")
    region = optional(parameters, "shared_memory_region")
    wants_binary = binary is not None and as_bool(binary, "binary_data")
    if region is not None:
        if classes is not None:
            raise Refusal(400, "Output can't set both 'shared_memory_region' and 'classification'")
        if wants_binary:
            raise Refusal(400, "Output can't set both 'shared_memory_region' and 'binary_data'")
        raise _no_region(region)
    return RequestedOutput(wants_binary, 0 if classes is None else requested_classes(classes))


def requested_classes(value: Any) -> int:
    """How many best classes an output is wanted as. Refuses what is no count."""
    if type(value) is int and 0 <= value < 2**64:
        return value
    raise Refusal(
        400, "Unable to set 'classification': attempt to access JSON non-unsigned-integer as unsigned-integer"
    )
