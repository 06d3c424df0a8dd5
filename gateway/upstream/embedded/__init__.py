"""Triton's HTTP v2 behaviour in process, over onnxruntime, for machines without a Triton server.

Importing this package loads neither onnxruntime nor numpy: a worker that serves from Triton pools alone stays small.
Constructing `EmbeddedEngine` loads them.
"""

from gateway.upstream.embedded.engine import EmbeddedEngine
from gateway.upstream.embedded.messages import EngineReply, EngineRequest

__all__ = ["EmbeddedEngine", "EngineReply", "EngineRequest"]
