"""The sample model whose requests come in sequences."""

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc

from gateway.upstream.tritonserver import TritonServer
from tests.models.conftest import Engine

IDS = itertools.count(1)


def add(engine: Engine, number: int, **parameters: Any) -> int:
    """The running sum that the model answers."""
    answered = engine.infer("running-sum", parameters, INPUT=("INT32", [1], [number]))
    total: int = answered["OUTPUT"][0]
    return total


def refusal(engine: Engine, **parameters: Any) -> str:
    tensor = {"name": "INPUT", "datatype": "INT32", "shape": [1], "data": [1]}
    status, body = engine.post("running-sum", "infer", inputs=[tensor], parameters=parameters)
    assert status == 400
    words: str = json.loads(body)["error"]
    return words


def sequence(engine: Engine, name: int | str, numbers: list[int]) -> list[int]:
    """All sums of a whole sequence."""
    last = len(numbers) - 1
    return [
        add(engine, number, sequence_id=name, sequence_start=at == 0, sequence_end=at == last)
        for at, number in enumerate(numbers)
    ]


def test_each_number_is_answered_with_the_sum_so_far(engine: Engine) -> None:
    """From the first request of a sequence to its last; a sequence of one is both."""
    assert sequence(engine, next(IDS), [3, 4, -10, 0]) == [3, 7, -3, -3]
    assert sequence(engine, next(IDS), [5]) == [5]
    assert sequence(engine, next(IDS), [2**31 - 1, 1]) == [2**31 - 1, -(2**31)]


def test_sequences_do_not_mix(engine: Engine) -> None:
    """Sixteen at once, each with its own sums; an id is a number or a text, and alike texts are not the same."""
    names = [*(next(IDS) for _ in range(8)), *(f"tenant-{number}" for number in range(8))]
    numbers = {name: [at, *range(10)] for at, name in enumerate(names)}
    with ThreadPoolExecutor(16) as callers:
        sums = list(callers.map(lambda name: sequence(engine, name, numbers[name]), names))
    assert sums == [list(itertools.accumulate(numbers[name])) for name in names]


def test_a_sequence_begins_before_it_goes_on(engine: Engine) -> None:
    """Without an id, before its first request and after its last one a request is refused, in the same words."""
    without = "inference request to model 'running-sum' must specify a non-zero or non-empty correlation ID"
    assert refusal(engine) == refusal(engine, sequence_id=0, sequence_start=True) == without
    name = next(IDS)
    unbegun = (
        f"inference request for sequence {name} to model 'running-sum' must specify the START flag on the first "
        "request of the sequence"
    )
    assert refusal(engine, sequence_id=name) == unbegun
    assert refusal(engine, sequence_id=name, sequence_end=True) == unbegun
    assert sequence(engine, name, [1, 2]) == [1, 3]
    assert refusal(engine, sequence_id=name) == unbegun


def test_a_sequence_may_begin_anew(engine: Engine) -> None:
    """A first request while it is open forgets the sum so far."""
    name = next(IDS)
    assert add(engine, 5, sequence_id=name, sequence_start=True) == 5
    assert add(engine, 6, sequence_id=name) == 11
    assert add(engine, 7, sequence_id=name, sequence_start=True) == 7
    assert add(engine, 1, sequence_id=name, sequence_end=True) == 8


@pytest.mark.slow
def test_the_published_client_runs_a_sequence_over_grpc(triton_server: TritonServer) -> None:
    """Tritonclient's own arguments for sequences."""
    with tritonclient.grpc.InferenceServerClient(triton_server.grpc_target) as client:
        number = tritonclient.grpc.InferInput("INPUT", [1], "INT32")
        sums, name = [], next(IDS)
        for at in range(3):
            number.set_data_from_numpy(np.array([at + 1], np.int32))
            answered = client.infer(
                "running-sum", [number], sequence_id=name, sequence_start=at == 0, sequence_end=at == 2
            )
            sums.append(int(answered.as_numpy("OUTPUT")[0]))
    assert sums == [1, 3, 6]
