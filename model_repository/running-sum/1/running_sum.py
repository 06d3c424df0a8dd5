"""`running-sum` for Triton's Python backend: answers each number of a sequence with the sum of those so far.

It needs numpy alone. Triton's sequence batcher says with each request which sequence it belongs to, and whether it is
the first or the last of it.
"""

import json
from collections import OrderedDict
from typing import Any

import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]


class TritonPythonModel:
    """What the backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Begins without any sequence."""
        batching = json.loads(args["model_config"])["sequence_batching"]
        self._most = int(batching["oldest"]["max_candidate_sequences"])
        # The sums of sequences that go on, the longest untouched first.
        self._sums: OrderedDict[int | str, Any] = OrderedDict()

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response for each request. Sums are INT32, and wrap around as INT32 does."""
        return [self._add(request) for request in requests]

    def _add(self, request: Any) -> Any:
        sequence = request.correlation_id()
        before = self._sums.pop(sequence, None)
        number = _values(request, "INPUT")
        total = number if before is None or _values(request, "START")[0] else before + number
        if not _values(request, "END")[0]:
            self._sums[sequence] = total
            # The batcher ends idle sequences without a word. It never keeps more than this, so the rest is of those.
            while len(self._sums) > self._most:
                self._sums.popitem(last=False)
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT", total)])


def _values(request: Any, name: str) -> Any:
    return pb_utils.get_input_tensor_by_name(request, name).as_numpy()
