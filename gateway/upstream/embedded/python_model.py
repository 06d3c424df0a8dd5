"""A model of Triton's Python backend, run in this process: its code is trusted as the gateway's own is.

Triton gives each instance a process; here instances share one, its interpreter and its memory.
"""

import queue
import sys
import types
import weakref
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from gateway.upstream.embedded import python_backend
from gateway.upstream.embedded.config import ModelConfig, TensorSpec
from gateway.upstream.embedded.datatypes import BYTES
from gateway.upstream.embedded.messages import LoadFailure, Refusal, cancelled
from gateway.upstream.embedded.python_backend import InferenceRequest, InferenceResponse, TritonError
from gateway.upstream.embedded.responses import Asker, Responses

Array = np.ndarray[Any, Any]

MODULE: Final = "triton_python_backend_utils"

_STATUS: Final = {
    TritonError.NOT_FOUND: 404,
    TritonError.INVALID_ARG: 400,
    TritonError.UNAVAILABLE: 503,
    TritonError.UNSUPPORTED: 501,
    TritonError.ALREADY_EXISTS: 409,
    TritonError.CANCELLED: 499,
}
"""The status that Triton's HTTP endpoint gives each code; 500 for the others."""


class Answer(NamedTuple):
    """One sending of a decoupled model: arrays, what it failed on, or None for an end alone; and whether it is the final one."""

    content: dict[str, Array] | Refusal | None
    final: bool


class PythonModel:
    """The instances of one version. Raises LoadFailure when the code does not load or its `initialize` fails.

    `arguments` is what `initialize` gets, all of it text, as in Triton.
    """

    def __init__(self, path: Path, config: ModelConfig, instances: int, arguments: dict[str, str]) -> None:
        self._config = config
        self._outputs = {spec.name: spec for spec in config.outputs}
        self._every: list[Any] = []
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._open: weakref.WeakSet[Responses] = weakref.WeakSet()
        self._threads = ThreadPoolExecutor(instances, thread_name_prefix=config.name)
        try:
            module = _module(path)
            for _ in range(instances):
                instance = module.TritonPythonModel()
                if hasattr(instance, "initialize"):
                    instance.initialize(arguments)
                self._every.append(instance)
                self._free.put(instance)
        except Exception as fault:  # whatever somebody's code raises
            self.close()
            raise LoadFailure(f"failed to load model '{config.name}': {_told(fault)}") from fault

    def run(
        self, outputs: list[str], feed: Mapping[str, Array], sequence: int | str, asker: Asker
    ) -> list[Array]:
        """The named outputs for these inputs, of a sequence or of none (0).

        Raises Refusal when the model fails on them, or does not give all of them, and where the asker leaves before an instance
        is free. One that leaves later is told of to the model (`is_cancelled`).
        """
        responses = Responses()
        asker.tell(responses)
        instance = self._free.get()
        try:
            if asker.left:
                raise cancelled()
            (response,) = instance.execute([InferenceRequest(_as_bytes(feed), responses, sequence)])
        except Refusal:
            raise
        except Exception as fault:  # whatever somebody's code raises
            raise self._failed(fault) from fault
        finally:
            self._free.put(instance)
        arrays = self._arrays(response, outputs)
        for name in outputs:
            if name not in arrays:
                raise Refusal(500, f"model '{self._config.name}' gives no output '{name}'")
        return [arrays[name] for name in outputs]

    def start(self, feed: Mapping[str, Array], sequence: int | str, asker: Asker) -> Responses:
        """Has a decoupled model begin to answer: `arrays` reads its responses, which end early where the asker leaves."""
        responses = Responses()
        asker.tell(responses)
        self._open.add(responses)
        request = InferenceRequest(_as_bytes(feed), responses, sequence)
        self._threads.submit(self._execute, request, responses)
        return responses

    def arrays(self, responses: Responses, outputs: list[str]) -> Iterator[Answer]:
        """What the model sends: of each response the named outputs, as far as it has them."""
        for response, final, _ in responses:
            if response is None:
                yield Answer(None, final)
                continue
            try:
                yield Answer(self._arrays(response, outputs), final)
            except Refusal as refusal:
                yield Answer(refusal, final)

    def close(self) -> None:
        """Ends what is being answered and has each instance end itself."""
        for responses in list(self._open):
            responses.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        for instance in self._every:
            if hasattr(instance, "finalize"):
                instance.finalize()

    def _execute(self, request: InferenceRequest, responses: Responses) -> None:
        instance = self._free.get()
        try:
            if not responses.cancelled:
                instance.execute([request])
        except Exception as fault:  # noqa: BLE001 - whatever somebody's code raises
            error = InferenceResponse(error=TritonError(self._failed(fault).words))
            responses.put(error, final=True)
        finally:
            self._free.put(instance)

    def _failed(self, fault: Exception) -> Refusal:
        words = f"Failed to process the request(s) for model '{self._config.name}', message: {_told(fault)}"
        return Refusal(500, words)

    def _arrays(self, response: InferenceResponse, outputs: list[str]) -> dict[str, Array]:
        if response.error is not None:
            raise Refusal(_STATUS.get(response.error.kind, 500), response.error.words)
        return {
            name: self._checked(self._outputs[name], response.tensors[name])
            for name in outputs
            if name in response.tensors
        }

    def _checked(self, spec: TensorSpec, array: Array) -> Array:
        if spec.datatype is BYTES:
            return _as_text(spec.name, array)
        if array.dtype != spec.datatype.numpy:
            raise Refusal(
                500,
                f"model '{self._config.name}' gives {array.dtype} for output '{spec.name}', "
                f"whose type is {spec.datatype.config_name}",
            )
        return array


def _module(path: Path) -> types.ModuleType:
    """The code in that file, run as a module. Nothing is written beside it: its folder has a digest."""
    sys.modules.setdefault(MODULE, python_backend)
    module = types.ModuleType(path.stem)
    module.__file__ = str(path)
    exec(compile(path.read_bytes(), path, "exec"), module.__dict__)  # noqa: S102 - that is what this model is
    return module


def _as_bytes(feed: Mapping[str, Array]) -> dict[str, Array]:
    """Inputs as Triton hands them over: BYTES elements are bytes, here so far text."""
    return {
        name: np.array([text.encode() for text in array.ravel()], object).reshape(array.shape)
        if array.dtype == object
        else array
        for name, array in feed.items()
    }


def _as_text(name: str, array: Array) -> Array:
    """BYTES elements as text, which is what replies are made of here. Raises Refusal for what is not UTF-8."""
    try:
        texts = [item.decode() if isinstance(item, bytes) else str(item) for item in array.ravel().tolist()]
    except UnicodeDecodeError as fault:
        raise Refusal(500, f"output '{name}': BYTES elements must be UTF-8 text here: {fault}") from fault
    return np.array(texts, object).reshape(array.shape)


def _told(fault: Exception) -> str:
    return f"{type(fault).__name__}: {fault}"
