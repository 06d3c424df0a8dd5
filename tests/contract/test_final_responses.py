"""How a caller of a stream over gRPC learns that a request has been answered: both engines say it as Triton does.

A decoupled model says it with its last response, or with an end of its own that has no outputs, which only those are sent who
asked for it (`enable_empty_final_response`).
"""

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as sync
from tritonclient.utils import InferenceServerException

from gateway.upstream.tritonserver import TritonServer
from tests.contract.conftest import Served, filled
from tests.contract.grpc_tensors import connect, tensor
from tests.contract.harness import Gateway, install
from tests.contract.tensors import image
from tests.patience import PATIENT_S

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SERVED = ("digits", "repeat", "tiny-lm")


@pytest.fixture(scope="module")
def embedded(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway whose own engine runs the decoupled models too."""
    folder = tmp_path_factory.mktemp("models")
    for model in SERVED:
        (folder / model).symlink_to(repository / model)
    settings = {"MAAS_EMBEDDED__MODEL_REPOSITORY": str(folder), "MAAS_EMBEDDED__PYTHON_MODELS": "true"}
    with Gateway(install(tmp_path_factory.mktemp("embedded")), settings) as gateway:
        yield filled("embedded", gateway, [repository / model for model in SERVED])


def repeat(**numbers: int) -> tuple[str, list[sync.InferInput]]:
    """Responses of which none is the final one: the model says by itself that there are no more."""
    text = tensor("text", np.array([b"word"], np.object_), "BYTES")
    return "repeat", [text, *(tensor(name, np.array([n], np.int32), "INT32") for name, n in numbers.items())]


def write(**wishes: bool | int) -> tuple[str, list[sync.InferInput]]:
    """Texts, whose last piece is the final response."""
    inputs = [
        tensor("text_input", np.array([b"A model"], np.object_), "BYTES"),
        tensor("temperature", np.array([0], np.float32), "FP32"),
    ]
    for name, wish in wishes.items():
        kind, datatype = (np.bool_, "BOOL") if isinstance(wish, bool) else (np.int32, "INT32")
        inputs.append(tensor(name, np.array([wish], kind), datatype))
    return "tiny-lm", inputs


ASKED = {
    "of a decoupled model, nothing": repeat(times=0),
    "of a decoupled model, one response": repeat(times=1),
    "of a decoupled model, three responses": repeat(times=3),
    "of a decoupled model, an error": repeat(times=3, fail_at=0),
    "of a decoupled model, a response and an error": repeat(times=3, fail_at=1),
    "of a decoupled model, what it refuses": write(max_tokens=-1),
    "a text as a whole": write(max_tokens=4),
    "a text piece by piece": write(max_tokens=4, stream=True),
    "of a model with one response": ("digits", [tensor("image", image(), "FP32")]),
    "what is refused before the model sees it": ("digits", [tensor("picture", image(), "FP32")]),
}


@pytest.fixture(params=["embedded", "on_triton"])
def gateway(request: pytest.FixtureRequest) -> Served:
    """Either gateway, one after the other."""
    found: Served = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def direct(triton: TritonServer) -> Iterator[sync.InferenceServerClient]:
    with sync.InferenceServerClient(triton.grpc_target) as client:
        yield client


def said(
    client: sync.InferenceServerClient,
    headers: dict[str, str],
    model: str,
    inputs: list[sync.InferInput],
    **wishes: bool,
) -> list[Any]:
    """All that a stream says to one request: its messages, and the words of errors. It ends once all has been said."""
    found: queue.Queue[tuple[Any, InferenceServerException | None]] = queue.Queue()
    client.start_stream(lambda result, error: found.put((result, error)), headers=headers)
    client.async_stream_infer(model, inputs, model_version="1", request_id="r", **wishes)
    client.stop_stream()
    return [
        result.get_response(as_json=True) if error is None else error.message()
        for result, error in (found.get_nowait() for _ in range(found.qsize()))
    ]


@pytest.mark.parametrize("what", ASKED)
@pytest.mark.parametrize("wanted", [False, True], ids=["", "with an end of its own"])
def test_the_end_of_a_request_is_told_as_by_triton(
    gateway: Served, direct: sync.InferenceServerClient, what: str, wanted: bool
) -> None:
    """Message for message, the number of them too."""
    model, inputs = ASKED[what]
    wishes = {"enable_empty_final_response": True} if wanted else {}
    caller = connect(gateway)
    ours = said(caller.client, caller.headers, f"{model}-live", inputs, **wishes)
    assert ours == said(direct, {}, model, inputs, **wishes)


def test_a_client_that_waits_for_the_end_sees_it(gateway: Served) -> None:
    """As NVIDIA's guide to decoupled models has it: a loop that ends with `triton_final_response`."""
    found: queue.Queue[tuple[Any, InferenceServerException | None]] = queue.Queue()
    caller = connect(gateway)
    caller.start_stream(lambda result, error: found.put((result, error)))
    for model, inputs in (repeat(times=3), write(max_tokens=4, stream=True)):
        caller.client.async_stream_infer(f"{model}-live", inputs, enable_empty_final_response=True)
        final = False
        while not final:
            result, error = found.get(timeout=PATIENT_S)
            assert error is None
            final = result.get_response().parameters["triton_final_response"].bool_param
    caller.client.stop_stream()
    assert found.empty()
