"""`config.pbtxt`, for any of Triton's backends: what the model takes and gives, and of which others it is made."""

from pathlib import Path
from typing import Any, Literal

import msgspec
from google.protobuf import text_format  # type: ignore[import-untyped]

from gateway.artefacts.files import ArtefactRefused, read_bounded
from gateway.artefacts.signature import DATATYPES, Datatype, Signature, Tensor
from gateway.upstream.embedded.config import schema

CONFIG_FILE = "config.pbtxt"
MOST_BYTES = 1 << 20

_GRAPH_BACKENDS = ("onnxruntime", "onnxruntime_onnx")


class ConfigFile(msgspec.Struct, frozen=True):
    """What a configuration says. `inputs` and `outputs` are as callers see them, empty where the graph is to say.

    `inner` has each tensor's shape as the model itself sees it, without the batch, where that is another. `graph_file` is
    the name of the ONNX file of each version, empty where the model is none.
    """

    kind: Literal["onnx", "ensemble", "other"]
    max_batch_size: int
    inputs: list[Tensor]
    outputs: list[Tensor]
    inner: dict[str, list[int]]
    graph_file: str
    steps: list[str]

    @property
    def signature(self) -> Signature | None:
        """The signature, where the configuration has all of it."""
        return Signature(self.inputs, self.outputs) if self.inputs and self.outputs else None


def read_config_file(folder: Path) -> ConfigFile:
    """A model's configuration. Raises `ArtefactRefused` for one that Triton would not read."""
    path = folder / CONFIG_FILE
    message = schema().ModelConfig()
    try:
        text_format.Parse(read_bounded(path, MOST_BYTES).decode(), message)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ArtefactRefused(f"{path} is no model configuration: {error}") from error
    if message.name not in ("", folder.name):
        raise ArtefactRefused(f"{path} is of {message.name!r}, but its folder is {folder.name!r}")
    if message.max_batch_size < 0:
        raise ArtefactRefused(f"{path}: max_batch_size is negative")
    file = message.default_model_filename
    if file.startswith("/") or ".." in file.split("/"):
        raise ArtefactRefused(f"{path}: default_model_filename {file!r} leaves the version's folder")
    batched = message.max_batch_size > 0
    steps = [_step(step) for step in message.ensemble_scheduling.step]
    backend = message.backend or message.platform
    is_graph = backend in _GRAPH_BACKENDS or (not backend and not steps)
    return ConfigFile(
        kind="ensemble" if steps else "onnx" if is_graph else "other",
        max_batch_size=message.max_batch_size,
        inputs=[_tensor(path, each, batched) for each in message.input],
        outputs=[_tensor(path, each, batched) for each in message.output],
        inner={
            each.name: list(each.reshape.shape)
            for each in (*message.input, *message.output)
            if each.HasField("reshape")
        },
        graph_file=(file or "model.onnx") if is_graph else "",
        steps=list(dict.fromkeys(steps)),
    )


def _step(step: Any) -> str:
    """The step's model, with its version unless that is whichever is the latest."""
    return f"{step.model_name}@{step.model_version}" if step.model_version > 0 else str(step.model_name)


def _tensor(path: Path, tensor: Any, batched: bool) -> Tensor:
    if not tensor.name:
        raise ArtefactRefused(f"{path}: a tensor has no name")
    name = schema().DataType.Name(tensor.data_type).removeprefix("TYPE_")
    datatype: Datatype | None = "BYTES" if name == "STRING" else name if name in DATATYPES else None
    if datatype is None:
        raise ArtefactRefused(f"{path}: tensor {tensor.name} has no data type")
    dims = list(tensor.dims)
    shape = [-1, *dims] if batched else dims
    return Tensor(tensor.name, datatype, shape, getattr(tensor, "optional", False))
