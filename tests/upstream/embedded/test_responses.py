"""What a decoupled model sends, and who reads it more slowly."""

import threading

import numpy as np

from gateway.upstream.embedded.python_backend import InferenceRequest, InferenceResponse, Tensor
from gateway.upstream.embedded.responses import MOST_UNREAD_BYTES, Responses
from tests.gateway_process import wait_for
from tests.patience import PATIENT_S

_SIZE_BYTES = 2**20
_FIT = MOST_UNREAD_BYTES // _SIZE_BYTES


class _Model:
    """Sends `count` responses of a MiB each, as fast as it may. `sent` is how many have gone."""

    def __init__(self, count: int) -> None:
        self.sent = 0
        self.responses = Responses()
        self._request = InferenceRequest({}, self.responses)
        self._thread = threading.Thread(target=self._run, args=(count,), daemon=True)
        self._thread.start()

    def ended(self) -> bool:
        """Whether it has sent all, or was let go."""
        self._thread.join(PATIENT_S)
        return not self._thread.is_alive()

    def _run(self, count: int) -> None:
        sender = self._request.get_response_sender()
        for number in range(count):
            tensor = Tensor("OUT", np.full(_SIZE_BYTES // 4, number, np.int32))
            sender.send(InferenceResponse([tensor]))
            self.sent += 1
        sender.send(flags=1)


def test_a_model_waits_for_who_reads_slowly() -> None:
    """So much waits to be read and no more; all of it comes, in order."""
    model = _Model(4 * _FIT)
    wait_for(lambda: model.sent == _FIT, what="the room to be used up")
    found: list[int] = []
    for response, _, _ in model.responses:
        assert model.sent <= len(found) + 1 + _FIT
        if response is not None:
            found.append(int(response.tensors["OUT"][0]))
    assert found == list(range(4 * _FIT))
    assert model.ended()


def test_a_model_that_waits_is_let_go_with_its_caller() -> None:
    """What it sends then goes nowhere."""
    model = _Model(4 * _FIT)
    wait_for(lambda: model.sent == _FIT, what="the room to be used up")
    model.responses.cancel()
    assert model.ended()
    assert len(list(model.responses)) == _FIT
