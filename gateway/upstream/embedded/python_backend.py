"""What a model's Python code imports as `triton_python_backend_utils`, where it runs in this process.

The part of Triton's module that a model needs which reads tensors and answers, at once or response by response:
`Tensor`, `InferenceResponse`, `TritonError`, `TritonModelException`, `get_input_tensor_by_name`, a request's sequence id,
the response sender and its final flag. Names, arguments and meaning are Triton's (the README of github.com/triton-inference-server/
python_backend). Not here: calls of other models, shared memory and DLPack, metrics, parameters, `auto_complete_config`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from gateway.upstream.embedded.responses import Responses

Array = np.ndarray[Any, Any]

TRITONSERVER_RESPONSE_COMPLETE_FINAL: Final = 1


class TritonModelException(Exception):
    """What a model raises when it cannot go on."""


class TritonError:
    """Why a request failed, with Triton's code for whose fault it was."""

    UNKNOWN, INTERNAL, NOT_FOUND, INVALID_ARG, UNAVAILABLE, UNSUPPORTED, ALREADY_EXISTS, CANCELLED = range(8)

    def __init__(self, message: str, code: int = INTERNAL) -> None:
        self.words = message
        self.kind = code


class Tensor:
    """A named array; elements of BYTES are `bytes` in an array of objects."""

    def __init__(self, name: str, array: Array) -> None:
        self._name = name
        self._array = array

    def name(self) -> str:
        """Its name."""
        return self._name

    def as_numpy(self) -> Array:
        """Its elements in their shape."""
        return self._array


class InferenceResponse:
    """One answer: tensors, or an error."""

    def __init__(self, output_tensors: Sequence[Tensor] = (), error: TritonError | None = None) -> None:
        self.tensors = {tensor.name(): tensor.as_numpy() for tensor in output_tensors}
        self.error = error


class ResponseSender:
    """Sends the responses of one request, until one, or none, is sent with the final flag."""

    def __init__(self, responses: Responses) -> None:
        self._responses = responses

    def send(self, response: InferenceResponse | None = None, flags: int = 0) -> None:
        """One response, the last one, or only the end. Waits while much of what was sent before is not read yet."""
        final = bool(flags & TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        if response is not None:
            self._responses.wait_for_room()
        if response is not None or final:
            size_bytes = 0 if response is None else sum(map(_size_bytes, response.tensors.values()))
            self._responses.put(response, final=final, size_bytes=size_bytes)

    def is_cancelled(self) -> bool:
        """Whether nobody reads on."""
        return self._responses.cancelled

    def __del__(self) -> None:
        # A model that forgets a request would keep its caller waiting for ever.
        self._responses.put(None, final=True)


class InferenceRequest:
    """One request, as the model sees it."""

    def __init__(self, inputs: Mapping[str, Array], responses: Responses, sequence: int | str = 0) -> None:
        self.tensors = {name: Tensor(name, array) for name, array in inputs.items()}
        self._sequence = sequence
        self._sender = ResponseSender(responses)

    def correlation_id(self) -> int | str:
        """The id of the sequence that it belongs to, 0 for none."""
        return self._sequence

    def get_response_sender(self) -> ResponseSender:
        """Where the responses go, for models that are decoupled."""
        return self._sender

    def is_cancelled(self) -> bool:
        """Whether nobody waits for the answer."""
        return self._sender.is_cancelled()


def get_input_tensor_by_name(request: InferenceRequest, name: str) -> Tensor | None:
    """An input of the request; None where the caller left it out."""
    return request.tensors.get(name)


def _size_bytes(array: Array) -> int:
    return sum(map(len, array.ravel())) if array.dtype == object else array.nbytes
