"""What the gateway says of itself as a server of the protocol, over HTTP and gRPC."""

from importlib.metadata import version

NAME = "maas"
VERSION = version("maas")

EXTENSIONS = (
    "classification",
    "sequence",
    "model_configuration",
    "schedule_policy",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "generate",
)
"""Those of Triton's that are passed on, and no others."""
