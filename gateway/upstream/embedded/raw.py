"""A raw request: no JSON at all, the body is the one input of the model and its shape follows from the size."""

from gateway.upstream.embedded.config import ModelConfig
from gateway.upstream.embedded.datatypes import BYTES
from gateway.upstream.embedded.request import InferCall, ReceivedInput, element_count, fault


def raw_input(call: InferCall, raw: memoryview, config: ModelConfig) -> ReceivedInput:
    """The whole body as the model's one input. Refuses models of several inputs or several varying dimensions."""
    if len(config.inputs) != 1:
        raise fault(
            call,
            f"Raw request must only have 1 input (found 1) to be deduced but got {len(config.inputs)} inputs in "
            f"'{config.name}' model configuration",
        )
    spec = config.inputs[0]
    varying = [axis for axis, dim in enumerate(spec.dims) if dim == -1]
    batched = config.max_batch_size > 0
    if len(varying) > 1:
        raise fault(
            call,
            f"The shape of the raw input '{spec.name}' can not be deduced because there are more than one "
            "variable-sized dimension",
        )
    dims = list(spec.dims)
    fixed = element_count(tuple(dim for dim in dims if dim != -1))
    if spec.datatype is BYTES:
        if fixed != 1:
            raise fault(
                call, f"For BYTE datatype raw input '{spec.name}', the model must have input shape [1]"
            )
        raw = memoryview(len(raw).to_bytes(4, "little") + raw)
        size = 1
    else:
        size = len(raw) // (fixed * spec.datatype.item_bytes) if fixed else 0
    if varying:
        dims[varying[0]] = size
    return ReceivedInput(spec.name, spec.datatype, (1, *dims) if batched else tuple(dims), raw)
