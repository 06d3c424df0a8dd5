"""The messages of the gRPC loads, made with NVIDIA's generated classes."""

import struct

from tritonclient.grpc import service_pb2

METHOD = "/inference.GRPCInferenceService/ModelInfer"
STREAM_METHOD = "/inference.GRPCInferenceService/ModelStreamInfer"


def framed(message: bytes) -> bytes:
    """A message as HTTP/2 carries it: not compressed, its length before it (gRPC over HTTP/2, Length-Prefixed-Message)."""
    return struct.pack(">BI", 0, len(message)) + message


def infer_request(model: str, shape: tuple[int, int], request_id: str = "") -> bytes:
    """A `ModelInferRequest` of one FP32 tensor `image` of zeros; its version is left to whoever passes it on."""
    request = service_pb2.ModelInferRequest(model_name=model, id=request_id)
    request.inputs.add(name="image", datatype="FP32", shape=shape)
    request.raw_input_contents.append(bytes(shape[0] * shape[1] * 4))
    return bytes(request.SerializeToString())


def infer_reply(model: str, version: int) -> bytes:
    """A `ModelInferResponse` of ten FP32 numbers."""
    reply = service_pb2.ModelInferResponse(model_name=model, model_version=str(version))
    reply.outputs.add(name="probabilities", datatype="FP32", shape=[1, 10])
    reply.raw_output_contents.append(bytes(40))
    return bytes(reply.SerializeToString())


def token(model: str, version: int, text: bytes) -> bytes:
    """A `ModelStreamInferResponse` with a piece of text."""
    reply = service_pb2.ModelInferResponse(model_name=model, model_version=str(version))
    reply.outputs.add(name="text_output", datatype="BYTES", shape=[1])
    reply.raw_output_contents.append(struct.pack("<I", len(text)) + text)
    return bytes(service_pb2.ModelStreamInferResponse(infer_response=reply).SerializeToString())
