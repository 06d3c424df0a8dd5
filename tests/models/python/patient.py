"""A Triton Python model that waits for its caller to go, two minutes at most, and leaves a file of that name: `NAME.cancelled`.

`text_input` is the file's path without its end; `NAME.began` is there from the beginning. With `stream`, where it is decoupled,
it says something every 50 ms meanwhile.
"""

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]

MOST_S, EVERY_S = 120, 0.05


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        policy = json.loads(args["model_config"]).get("model_transaction_policy", {})
        self._decoupled = policy.get("decoupled", False)

    def execute(self, requests: list[Any]) -> list[Any] | None:
        if not self._decoupled:
            return [self._wait(request) for request in requests]
        for request in requests:
            threading.Thread(target=self._speak, args=(request,), daemon=True).start()
        return None

    def _speak(self, request: Any) -> None:
        sender = request.get_response_sender()
        sender.send(self._wait(request, sender), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _wait(self, request: Any, sender: Any = None) -> Any:
        text = pb_utils.get_input_tensor_by_name(request, "text_input").as_numpy().flat[0]
        stream = pb_utils.get_input_tensor_by_name(request, "stream")
        speaks = sender is not None and stream is not None and bool(stream.as_numpy().flat[0])
        path = Path(text.decode())
        path.with_suffix(".began").touch()
        ends = time.monotonic() + MOST_S
        while time.monotonic() < ends:
            if request.is_cancelled():
                path.with_suffix(".cancelled").touch()
                break
            if speaks:
                sender.send(said())
            time.sleep(EVERY_S)
        return said()


def said() -> Any:
    return pb_utils.InferenceResponse([pb_utils.Tensor("text_output", np.array([b"."], np.object_))])
