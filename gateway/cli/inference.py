"""One v2 inference through NVIDIA's own client, `tritonclient`, tensors in binary as it sends them by default."""

import math
from typing import Any
from urllib.parse import urlsplit

from gateway.cli.output import Refused

# The protocol's own request parameters; tritonclient takes them by name.
_NAMED = ("sequence_id", "sequence_start", "sequence_end", "priority", "timeout")


def send(
    address: str,
    alias: str,
    request: dict[str, Any],
    headers: dict[str, str],
    version: int | None = None,
    timeout_s: float = 30.0,
    told: dict[str, str] | None = None,
) -> dict[str, Any]:
    """One inference through `tritonclient`, tensors in binary; the reply with its tensors as JSON values.

    `request` is a v2 inference request; `told` gets the header fields of the reply, names in lower case. Raises `Refused` with
    the server's words.
    """
    from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
    from tritonclient.utils import InferenceServerException

    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refused(f"{address!r} is no inference port; write http://HOST:PORT")
    inputs = []
    for tensor in request["inputs"]:
        inputs.append(InferInput(tensor["name"], tensor["shape"], tensor["datatype"]))
        try:
            inputs[-1].set_data_from_numpy(_array(tensor))
        except InferenceServerException as error:
            raise Refused(f"input {tensor['name']}: {error.message()}") from error
    outputs = [
        InferRequestedOutput(o["name"], class_count=o.get("parameters", {}).get("classification", 0))
        for o in request.get("outputs", [])
    ]
    parameters = dict(request.get("parameters", {}))
    named = {field: parameters.pop(field) for field in _NAMED if field in parameters}

    class Client(InferenceServerClient):  # type: ignore[misc]
        """Keeps the fields of a reply, which tritonclient's results leave out."""

        def _post(self, *arguments: Any, **options: Any) -> Any:
            response = super()._post(*arguments, **options)
            if told is not None:
                told.update({name.lower(): value for name, value in response.items()})
            return response

    client = Client(
        f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}",
        ssl=parts.scheme == "https",
        connection_timeout=timeout_s,
        network_timeout=timeout_s,
    )
    try:
        result = client.infer(
            alias,
            inputs,
            model_version="" if version is None else str(version),
            outputs=outputs or None,
            request_id=str(request.get("id", "")),
            headers=headers,
            parameters=parameters or None,
            **named,
        )
    except InferenceServerException as error:
        status = f" (status {error.status()})" if error.status() else ""
        raise Refused(f"{error.message()}{status}") from error
    except (OSError, EOFError) as error:
        raise Refused(
            f"no gateway answers at {address}: {error}; is this the inference port? (--url)"
        ) from error
    finally:
        client.close()
    return _readable(result)


def _array(tensor: dict[str, Any]) -> Any:
    """The tensor's data, flat or nested, as numpy has it; text becomes bytes."""
    import numpy as np
    from tritonclient.utils import triton_to_np_dtype

    kind = triton_to_np_dtype(tensor["datatype"])
    if kind is None:
        raise Refused(
            f"input {tensor['name']} has datatype {tensor['datatype']!r}, which Triton does not know"
        )
    values = list(_flat(tensor["data"]))
    if len(values) != math.prod(tensor["shape"]):
        raise Refused(
            f"input {tensor['name']} has {len(values)} values, its shape {tensor['shape']} wants another number"
        )
    if kind is np.object_:
        values = [value.encode() if isinstance(value, str) else value for value in values]
    try:
        return np.array(values, dtype=kind).reshape(tensor["shape"])
    except (ValueError, TypeError, OverflowError) as error:
        raise Refused(f"input {tensor['name']} does not hold {tensor['datatype']}: {error}") from error


def _flat(data: Any) -> Any:
    for value in data if isinstance(data, list) else [data]:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value


def _readable(result: Any) -> dict[str, Any]:
    """The reply with each binary tensor written out as JSON values."""
    reply: dict[str, Any] = result.get_response()
    for output in reply.get("outputs", []):
        if "data" in output:
            continue
        values = result.as_numpy(output["name"]).ravel().tolist()
        output["data"] = [v.decode(errors="backslashreplace") if isinstance(v, bytes) else v for v in values]
        output.get("parameters", {}).pop("binary_data_size", None)
        if not output.get("parameters", True):
            del output["parameters"]
    return reply
