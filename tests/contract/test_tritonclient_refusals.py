"""What is refused, and the words for it that tritonclient shows."""

from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.http as sync
from tritonclient.utils import InferenceServerException

from gateway.upstream.tritonserver import TritonServer
from tests.contract.conftest import Served
from tests.contract.harness import Key
from tests.contract.tensors import Credential, connect, image, tensor

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def client(served: Served) -> Iterator[sync.InferenceServerClient]:
    with connect(served) as client:
        yield client


@pytest.fixture(scope="module")
def direct(triton: TritonServer) -> Iterator[sync.InferenceServerClient]:
    with sync.InferenceServerClient(triton.http_url.removeprefix("http://")) as client:
        yield client


def test_the_models_errors_are_the_servers_own(
    served: Served, client: sync.InferenceServerClient, direct: sync.InferenceServerClient
) -> None:
    """An unknown input, a wrong shape, a wrong data type, an unknown output: 400, and Triton's words for it."""
    wrong: list[tuple[list[sync.InferInput], list[sync.InferRequestedOutput] | None]] = [
        ([tensor("picture", image(), "FP32")], None),
        ([tensor("image", np.zeros((1, 63), np.float32), "FP32")], None),
        ([tensor("image", np.zeros((1, 64), np.float64), "FP64")], None),
        ([tensor("image", image(), "FP32")], [sync.InferRequestedOutput("guess")]),
    ]
    for inputs, outputs in wrong:
        with pytest.raises(InferenceServerException) as theirs:
            direct.infer("digits", inputs, "1", outputs)
        with pytest.raises(InferenceServerException) as ours:
            client.infer("digits-live", inputs, "1", outputs)
        assert ours.value.status() == theirs.value.status() == "400"
        assert ours.value.message()
        if served.engine == "triton":
            assert ours.value.message() == theirs.value.message()


def test_refusals_say_why(served: Served) -> None:
    """Each refusal has its status, and a sentence that the client shows: no key, no right, no alias, no version."""

    def refused(key: Key | None, alias: str = "digits-live", version: str = "") -> tuple[str, str]:
        with sync.InferenceServerClient(served.gateway.inference) as client:
            if key is not None:
                client.register_plugin(Credential(key))
            with pytest.raises(InferenceServerException) as error:
                client.infer(alias, [tensor("image", image(), "FP32")], model_version=version)
            return error.value.status(), error.value.message()

    unknown = "There is no alias '{}', or you may not see it."
    assert refused(served.app, "nobody-live") == ("404", unknown.format("nobody-live"))
    assert refused(served.stranger) == ("404", unknown.format("digits-live"))
    assert refused(served.app, "digits") == ("404", unknown.format("digits"))
    assert refused(None)[0] == "401"
    assert "Authorization" in refused(None)[1]
    mistyped = served.app.text[:-1] + ("y" if served.app.text.endswith("x") else "x")
    assert refused(Key("", mistyped))[0] == "401"
    assert refused(served.sre)[0] == "403"
    assert "digits-live" in refused(served.sre)[1]
    assert refused(served.app, version="3") == (
        "404",
        "Version 3 is not a live target of alias 'digits-live'; call it without one.",
    )
    for version in ("1abc", "-1", "01", str(2**64)):
        assert refused(served.app, version=version)[0] == "400"


def test_who_may_pin_reaches_every_version(served: Served) -> None:
    """Version 3 is registered, gets no traffic, and answers to the owner who asks for it by number."""
    with connect(served, served.lead) as client:
        reply = client.infer("digits-live", [tensor("image", image(), "FP32")], model_version="3")
    assert reply.get_response()["model_version"] == "3"


def test_what_would_change_the_server_is_refused(served: Served) -> None:
    """Repository, shared-memory, logging and trace calls are nobody's to make: 403, and nothing reaches Triton."""
    with connect(served, served.lead) as client:
        calls = [
            client.get_model_repository_index,
            lambda: client.unload_model("digits"),
            lambda: client.load_model("digits"),
            client.get_log_settings,
            lambda: client.update_log_settings({"log_verbose_level": 1}),
            client.get_trace_settings,
            lambda: client.update_trace_settings("digits", {"trace_level": ["OFF"]}),
            client.get_system_shared_memory_status,
            client.unregister_system_shared_memory,
            client.unregister_cuda_shared_memory,
        ]
        for call in calls:
            with pytest.raises(InferenceServerException) as error:
                call()
            assert error.value.status() == "403"
        assert client.is_model_ready("digits-live")
