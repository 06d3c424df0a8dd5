"""Calls over gRPC: NVIDIA's own generated messages to calls of the engine, and what it says to messages.

Only a gateway that serves gRPC imports this: tritonclient's messages bring in all of grpcio.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from google.protobuf import json_format  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tritonclient.grpc import service_pb2

from gateway.upstream.embedded.arrange import Arrays
from gateway.upstream.embedded.datatypes import BY_NAME, BYTES, DataType
from gateway.upstream.embedded.decoupled import answers, decoupled_model
from gateway.upstream.embedded.messages import EngineReply, EngineRequest, Refusal
from gateway.upstream.embedded.operations import arranged_for, computed
from gateway.upstream.embedded.python_model import Answer
from gateway.upstream.embedded.reply import MAX_ERROR_CHARS, output_of
from gateway.upstream.embedded.repository import LoadedVersion
from gateway.upstream.embedded.request import (
    InferCall,
    ReceivedInput,
    RequestedOutput,
    element_count,
    fault,
    read_parameters,
    requested_classes,
)

_FINAL: Final = "triton_final_response"
_EMPTY_FINAL: Final = "triton_enable_empty_final_response"

_CONTENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "bool_contents": ("BOOL",),
    "int_contents": ("INT8", "INT16", "INT32"),
    "int64_contents": ("INT64",),
    "uint_contents": ("UINT8", "UINT16", "UINT32"),
    "uint64_contents": ("UINT64",),
    "fp32_contents": ("FP32",),
    "fp64_contents": ("FP64",),
    "bytes_contents": ("BYTES",),
}
"""The fields of InferTensorContents, and the types whose elements stand in each."""


def run(version: LoadedVersion, request: EngineRequest) -> EngineReply:
    """Answers the request with this version. Raises Refusal."""
    if request.operation == "stream_infer":
        return _stream_infer(version, request)
    return EngineReply(200, (), _OPERATIONS[request.operation](version, request))


def error_reply(refusal: Refusal) -> EngineReply:
    """The words alone: over gRPC they are the message of a status."""
    return EngineReply(refusal.status, (), refusal.words[:MAX_ERROR_CHARS].encode())


def _ready(_: LoadedVersion, __: EngineRequest) -> bytes:
    return bytes(service_pb2.ModelReadyResponse(ready=True).SerializeToString())


def _metadata(version: LoadedVersion, _: EngineRequest) -> bytes:
    return _from_json(version.metadata_body, service_pb2.ModelMetadataResponse())


def _config(version: LoadedVersion, _: EngineRequest) -> bytes:
    return _from_json(b'{"config":' + version.config_body + b"}", service_pb2.ModelConfigResponse())


def _stats(version: LoadedVersion, _: EngineRequest) -> bytes:
    return _from_json(version.recorder.printed(), service_pb2.ModelStatisticsResponse())


def _from_json(body: bytes, message: Any) -> bytes:
    """What is said over HTTP, as a message with the same fields."""
    return bytes(json_format.Parse(body, message).SerializeToString())


def _infer(version: LoadedVersion, request: EngineRequest) -> bytes:
    if version.config.decoupled:
        raise Refusal(501, "ModelInfer RPC doesn't support models with decoupled transaction policy")
    started = time.perf_counter_ns()
    message = _parsed(bytes(request.body))
    _empty_final(message)
    call = _take_apart(message, version.config.name)
    call.asker = request.asker

    def reply(arrays: Arrays) -> bytes:
        return bytes(_response(call, version, arrays).SerializeToString())

    return computed(version, call, arranged_for(version, call), started, reply)


def _stream_infer(version: LoadedVersion, request: EngineRequest) -> EngineReply:
    """A message for each response; those of a model that is not decoupled are one, and that the final one."""
    started = time.perf_counter_ns()
    message = _parsed(bytes(request.body))
    empty_final = _empty_final(message)
    call = _take_apart(message, version.config.name)
    call.asker = request.asker
    tensors = arranged_for(version, call)

    def told(arrays: Arrays) -> bytes:
        return _streamed(_response(call, version, arrays), final=True)

    if not version.config.decoupled:
        return EngineReply(200, (), b"", iter((computed(version, call, tensors, started, told),)))
    responses = decoupled_model(version).start(tensors.feed, call.sequence.id, call.asker)
    found = answers(version, tensors, started, responses)
    messages = (
        _answered(version, call, answer) for answer in found if empty_final or answer.content is not None
    )
    return EngineReply(200, (), b"", messages, responses)


def _answered(version: LoadedVersion, call: InferCall, answer: Answer) -> bytes:
    """What a decoupled model sent, as a message: an error has its words, an end alone has no outputs."""
    content, final = answer
    if isinstance(content, Refusal):
        return _streamed(_named(call, version), final=final, error=content.words[:MAX_ERROR_CHARS])
    return _streamed(_response(call, version, content or {}), final=final)


def _streamed(response: Any, *, final: bool, error: str = "") -> bytes:
    """A `ModelStreamInferResponse`, which says whether it is the final one of its request."""
    response.parameters[_FINAL].bool_param = final
    message = service_pb2.ModelStreamInferResponse(infer_response=response, error_message=error)
    return bytes(message.SerializeToString())


_OPERATIONS: Final[Mapping[str, Callable[[LoadedVersion, EngineRequest], bytes]]] = {
    "infer": _infer,
    "ready": _ready,
    "metadata": _metadata,
    "config": _config,
    "stats": _stats,
}


# --- the request ---


def _parsed(body: bytes) -> Any:
    message = service_pb2.ModelInferRequest()
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise Refusal(400, f"failed to parse the request: {error}") from error
    return message


def _empty_final(message: Any) -> bool:
    """Takes out of the request whether its caller wants the end of a decoupled model's responses told, where the model says it alone."""
    if _EMPTY_FINAL not in message.parameters:
        return False
    parameter = message.parameters.pop(_EMPTY_FINAL)
    if parameter.WhichOneof("parameter_choice") != "bool_param":
        raise Refusal(400, f"invalid value type for '{_EMPTY_FINAL}' parameter, expected bool_param.")
    return bool(parameter.bool_param)


def _take_apart(message: Any, model: str) -> InferCall:
    call = InferCall(request_id=message.id, binary_default=True)
    read_parameters(call, _plain(message.parameters))
    raw = iter(message.raw_input_contents)
    for tensor in message.inputs:
        received = _input(tensor, raw, bool(message.raw_input_contents), model)
        if received.name in call.inputs:
            raise fault(call, f"input '{received.name}' already exists in request")
        call.inputs[received.name] = received
    for output in message.outputs:
        classes = _plain(output.parameters).get("classification", 0)
        # Named twice, an output keeps its first form.
        call.outputs.setdefault(output.name, RequestedOutput(True, requested_classes(classes)))
    return call


def _plain(parameters: Any) -> dict[str, Any]:
    """The parameters by name; one without a value is left out."""
    return {
        name: getattr(parameter, kind)
        for name, parameter in parameters.items()
        if (kind := parameter.WhichOneof("parameter_choice")) is not None
    }


def _input(tensor: Any, raw: Any, raw_given: bool, model: str) -> ReceivedInput:
    datatype = BY_NAME.get(tensor.datatype)
    shape = tuple(tensor.shape)
    if any(size < 0 for size in shape):
        raise Refusal(400, f"invalid shape {list(shape)} for input '{tensor.name}' for model '{model}'")
    if tensor.HasField("contents"):
        if raw_given:
            raise Refusal(
                400,
                "contents field must not be specified when using raw_input_contents for "
                f"'{tensor.name}' for model '{model}'",
            )
        return ReceivedInput(tensor.name, datatype, shape, _elements(tensor, datatype, model))
    data = next(raw, None)
    if data is None:
        raise Refusal(
            400, f"unable to find data for input tensor '{tensor.name}' for model '{model}' in request."
        )
    return ReceivedInput(tensor.name, datatype, shape, memoryview(data))


def _elements(tensor: Any, datatype: DataType | None, model: str) -> Any:
    """The elements of an input that stand in fields by their type, as a flat array."""
    filled = [field.name for field, values in tensor.contents.ListFields()]
    for field in filled:
        if datatype is None or datatype.name not in _CONTENTS[field]:
            raise Refusal(
                400,
                f"unexpected explicit tensor data for input tensor '{tensor.name}' for model '{model}' of type "
                f"'{_CONTENTS[field][-1]}', expected datatype '{tensor.datatype}'",
            )
    values = list(getattr(tensor.contents, filled[0])) if filled else []
    if datatype is BYTES:
        try:
            values = [value.decode() for value in values]
        except UnicodeDecodeError as error:
            raise Refusal(
                400, f"input '{tensor.name}': BYTES elements must be UTF-8 text here: {error}"
            ) from error
        return np.array(values, dtype=object)
    kind = np.dtype(np.uint8) if datatype is None else datatype.numpy
    try:
        array = np.array(values, dtype=kind)
    except OverflowError as error:
        raise Refusal(
            400, f"input '{tensor.name}': an element is out of range for {tensor.datatype}"
        ) from error
    # Their bytes are counted where those of raw contents are.
    return array if len(array) == element_count(tuple(tensor.shape)) else memoryview(array.tobytes())


# --- the reply ---


def _response(call: InferCall, version: LoadedVersion, arrays: Arrays) -> Any:
    """The `ModelInferResponse` that carries `arrays`, outputs in the order of the configuration."""
    config = version.config
    response = _named(call, version)
    for spec in config.outputs:
        if spec.name in arrays:
            wish = call.outputs.get(spec.name) or RequestedOutput(True, 0)
            labels = version.labels.get(spec.name, ())
            entry, raw = output_of(spec, arrays[spec.name], wish, labels, config.max_batch_size > 0)
            response.outputs.add(name=entry["name"], datatype=entry["datatype"], shape=entry["shape"])
            response.raw_output_contents.append(bytes(raw))
    return response


def _named(call: InferCall, version: LoadedVersion) -> Any:
    """A `ModelInferResponse` that says whose it is, without outputs."""
    return service_pb2.ModelInferResponse(
        model_name=version.config.name, model_version=str(version.version), id=call.request_id
    )
