"""A decoupled Triton Python model: sends `text` back `times` times, each with its `index`, `delay_ms` apart.

With `fail_at`, the response of that index is an error and the last one.
"""

import time
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]


class TritonPythonModel:
    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            self._stream(request)

    def _stream(self, request: Any) -> None:
        sender = request.get_response_sender()
        text = pb_utils.get_input_tensor_by_name(request, "text").as_numpy()
        fail_at, delay_ms = given(request, "fail_at", -1), given(request, "delay_ms", 0)
        for index in range(given(request, "times", 1)):
            if index == fail_at:
                error = pb_utils.TritonError(f"told to fail at {index}")
                sender.send(pb_utils.InferenceResponse([], error))
                break
            if request.is_cancelled():
                break
            time.sleep(delay_ms / 1000)
            outputs = [pb_utils.Tensor("text", text), pb_utils.Tensor("index", np.array([index], np.int32))]
            sender.send(pb_utils.InferenceResponse(outputs))
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def given(request: Any, name: str, default: int) -> int:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return default if tensor is None else int(tensor.as_numpy().flat[0])
