"""A Triton Python model that takes its time: sleeps for `delay_ms` and says for how long it did."""

import time
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]


class TritonPythonModel:
    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._wait(request) for request in requests]

    def _wait(self, request: Any) -> Any:
        delay_ms = pb_utils.get_input_tensor_by_name(request, "delay_ms").as_numpy()
        start = time.perf_counter()
        time.sleep(float(delay_ms.flat[0]) / 1000)
        waited_ms = np.full(delay_ms.shape, (time.perf_counter() - start) * 1000, np.float32)
        return pb_utils.InferenceResponse([pb_utils.Tensor("waited_ms", waited_ms)])
