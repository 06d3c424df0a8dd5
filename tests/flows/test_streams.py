"""Text that comes token by token through the whole gateway, from the embedded engine's own language model."""

import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.harness import Gateway, Key, install, wait_until
from tests.flows.conftest import SAMPLES, TEAM
from tests.models.build import build_repository

pytestmark = pytest.mark.slow

PROMPT, REST = "A model", " that nobody can build again is a model that nobody can mend."


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One with two threads for its engine, which serves `tiny-lm`, `digits` and the slow test models."""
    models = build_repository(tmp_path_factory.mktemp("models"), dtypes=[])
    for name in ("tiny-lm", "digits"):
        shutil.copytree(SAMPLES / name, models / name)
    settings = {
        "MAAS_EMBEDDED__MODEL_REPOSITORY": str(models),
        "MAAS_EMBEDDED__PYTHON_MODELS": "true",
        "MAAS_EMBEDDED__THREADS": "2",
    }
    with Gateway(install(tmp_path_factory.mktemp("gateway")), settings) as running:
        yield running


@pytest.fixture(scope="module")
def app(gateway: Gateway) -> Key:
    """An application that may call an alias of each model."""
    with gateway.operator() as operator:
        operator.pool("here")
        operator.role("app:writer", "consumer", TEAM)
        key = operator.key("app:writer")
        for model in ("tiny-lm", "digits", "repeat"):
            folder = Path(gateway.environment["MAAS_EMBEDDED__MODEL_REPOSITORY"]) / model
            operator.model(folder, team=TEAM, pool="here")
            operator.alias(f"{model}-live", f"{model}@1", team=TEAM)
    with gateway.caller(key) as caller:
        wait_until(lambda: caller.get("/v2/models/repeat-live/ready").is_success, "the aliases are served")
    return key


def stream(caller: httpx.Client, alias: str, **fields: Any) -> Iterator[dict[str, Any]]:
    """The events of one stream, as they arrive."""
    with caller.stream("POST", f"/v2/models/{alias}/generate_stream", json=fields) as reply:
        assert reply.status_code == 200, reply.read()
        for line in reply.iter_lines():
            if line:
                yield json.loads(line.removeprefix("data: "))


def written(caller: httpx.Client, **fields: Any) -> str:
    """All of a streamed text."""
    events = list(stream(caller, "tiny-lm-live", stream=True, **fields))
    assert events[-1]["finish_reason"]
    return "".join(event["text_output"] for event in events)


def test_forty_texts_at_once_come_whole(gateway: Gateway, app: Key) -> None:
    """Two threads serve them all; each caller gets its own text, the one that the same seed gave it alone."""
    wish = {"max_tokens": 50, "temperature": 1}
    with gateway.caller(app) as caller:
        assert written(caller, text_input=PROMPT, max_tokens=100, temperature=0) == REST
        alone = [written(caller, text_input="The ", seed=seed, **wish) for seed in range(40)]
        with ThreadPoolExecutor(40) as callers:
            together = list(
                callers.map(lambda seed: written(caller, text_input="The ", seed=seed, **wish), range(40))
            )
    assert together == alone


def test_a_slow_stream_holds_no_thread(gateway: Gateway, app: Key) -> None:
    """While two streams wait for their next event, the engine's two threads answer others; a caller that leaves
    a stream ends it, and its instance answers the next one."""
    with gateway.caller(app) as caller:
        slow = [stream(caller, "repeat-live", text="ho", times=1500, delay_ms=200) for _ in range(2)]
        for events in slow:
            assert next(events)["index"] == 0
        began = time.monotonic()
        image = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [0.0] * 64}
        for _ in range(5):
            reply = caller.post("/v2/models/digits-live/infer", json={"inputs": [image]})
            assert reply.status_code == 200
        assert time.monotonic() - began < 30, "the streams go on for five minutes"
        for events in slow:
            events.close()  # type: ignore[attr-defined]
        assert [event["index"] for event in stream(caller, "repeat-live", text="ho", times=2)] == [0, 1]
        assert time.monotonic() - began < 60
