"""Metadata and configuration as Triton prints them: compact JSON, fields in the order of NVIDIA's schema."""

from typing import Any

import msgspec

from gateway.upstream.embedded.config import ModelConfig, TensorSpec


def printed_config(message: Any) -> bytes:
    """A completed `inference.ModelConfig` as the reply of `GET .../config`."""
    return msgspec.json.encode(_message(message))


def _message(message: Any) -> dict[str, Any]:
    # Plain fields are printed with their defaults, messages only when they are set: what protobuf calls presence.
    printed: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            printed[field.name] = {
                str(key): _value(field.message_type.fields[1], value[key]) for key in sorted(value)
            }
        elif isinstance(value, str | bytes) or not hasattr(value, "__len__"):
            printed[field.name] = _value(field, value)
        else:
            printed[field.name] = [_value(field, item) for item in value]
    return printed


def _value(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return _message(value)
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    return value


def printed_metadata(config: ModelConfig, version: int) -> bytes:
    """The reply of `GET .../versions/{v}`: shapes with the batch dimension in front where there is one."""
    batch = (-1,) if config.max_batch_size > 0 else ()

    def tensors(specs: tuple[TensorSpec, ...]) -> list[dict[str, Any]]:
        return [{"name": s.name, "datatype": s.datatype.name, "shape": [*batch, *s.dims]} for s in specs]

    return msgspec.json.encode(
        {
            "name": config.name,
            "versions": [str(version)],
            "platform": config.platform,
            "inputs": tensors(config.inputs),
            "outputs": tensors(config.outputs),
        }
    )
