"""What is declared, what is configured and what the graph says, held against one another."""

from collections.abc import Sequence

from gateway.artefacts.record import BaseModel, Origin
from gateway.artefacts.signature import Signature, Tensor, disagreements, shape_text
from gateway.cli.registering.config_file import CONFIG_FILE, ConfigFile
from gateway.cli.registering.graph import Graph
from gateway.cli.registering.model_file import MODEL_FILE


def disagreeing(origin: Origin, config: ConfigFile, graph: Graph | None) -> list[str]:
    """Every difference between the three, one line each."""
    declared, configured = origin.signature, config.signature
    found = []
    if declared is not None and configured is not None:
        for side, ours, theirs in (
            ("input", declared.inputs, configured.inputs),
            ("output", declared.outputs, configured.outputs),
        ):
            found += disagreements(MODEL_FILE, ours, CONFIG_FILE, theirs, side)
    if graph is not None:
        found += _batch_problems(config, graph)
        if config.inputs:
            found += _against_graph("input", CONFIG_FILE, config.inputs, graph.inputs, config)
        if config.outputs:
            found += _against_graph("output", CONFIG_FILE, config.outputs, graph.outputs, config)
        if configured is None and declared is not None:
            found += _against_graph("input", MODEL_FILE, declared.inputs, graph.inputs, config)
            found += _against_graph("output", MODEL_FILE, declared.outputs, graph.outputs, config)
    if config.kind == "ensemble":
        named = [each.model for each in origin.base_models or () if each.relation == "ensemble"]
        found += [
            f"base model {name}: {MODEL_FILE} calls it a step, {CONFIG_FILE} has none of that name"
            for name in named
            if name not in config.steps
        ]
    return found


def agreed_signature(origin: Origin, config: ConfigFile, graph: Graph | None) -> Signature | None:
    """The signature that the version has: declared, else configured, else the graph's own; None where none says."""
    if origin.signature is not None or config.signature is not None:
        return origin.signature or config.signature
    if graph is None or not graph.inputs:
        return None
    return Signature(config.inputs or graph.inputs, config.outputs or graph.outputs)


def all_bases(origin: Origin, config: ConfigFile) -> list[BaseModel] | None:
    """The base models that are declared, and the steps of an ensemble, which are found by themselves."""
    declared = list(origin.base_models or ())
    named = {each.model for each in declared}
    steps = [BaseModel(step, "ensemble") for step in config.steps if step not in named]
    return [*declared, *steps] if origin.base_models is not None or steps else None


def _batch_problems(config: ConfigFile, graph: Graph) -> list[str]:
    if not config.max_batch_size:
        return []
    # A graph does not tell a scalar from a shape that it leaves open.
    return [
        f"{side} {tensor.name}: max_batch_size is {config.max_batch_size} by {CONFIG_FILE}, "
        f"but the graph's shape {shape_text(tensor.shape)} has no batch that varies in front"
        for side, tensors in (("input", graph.inputs), ("output", graph.outputs))
        for tensor in tensors
        if tensor.shape and tensor.shape[0] != -1
    ]


def _against_graph(
    side: str, whose: str, tensors: Sequence[Tensor], inside: Sequence[Tensor], config: ConfigFile
) -> list[str]:
    by_name = {tensor.name: tensor for tensor in inside}
    found = []
    for tensor in tensors:
        own = by_name.get(tensor.name)
        if own is None:
            has = ", ".join(sorted(by_name)) or "none"
            found.append(f"{side} {tensor.name}: {whose} has it, the graph does not; it has {has}")
            continue
        if own.datatype != tensor.datatype:
            found.append(f"{side} {tensor.name}: {tensor.datatype} by {whose}, {own.datatype} by the graph")
        shape = _inner_shape(tensor, config)
        if own.shape and not _may_be(shape, own.shape):
            found.append(
                f"{side} {tensor.name}: shape {shape_text(shape)} by {whose}, {shape_text(own.shape)} by the graph"
            )
    if side == "input":
        # A graph may give more than is configured; it must be given all that it takes.
        missing = by_name.keys() - {tensor.name for tensor in tensors}
        found += [f"input {name}: the graph has it, {whose} does not" for name in sorted(missing)]
    return found


def _inner_shape(tensor: Tensor, config: ConfigFile) -> list[int]:
    inner = config.inner.get(tensor.name)
    if inner is None:
        return tensor.shape
    return [-1, *inner] if config.max_batch_size else inner


def _may_be(shape: Sequence[int], other: Sequence[int]) -> bool:
    return len(shape) == len(other) and all(
        -1 in (one, two) or one == two for one, two in zip(shape, other, strict=True)
    )
