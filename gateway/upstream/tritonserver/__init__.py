"""Starts a real Triton server on this host: NVIDIA's own installation, or the binary of the package nvidia-pytriton."""

from gateway.upstream.tritonserver.installation import TritonStartError, triton_available
from gateway.upstream.tritonserver.server import TritonServer

__all__ = ["TritonServer", "TritonStartError", "triton_available"]
