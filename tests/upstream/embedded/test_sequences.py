"""Which sequences are open: idle ones end, there is a limit, and what only Triton has is said at load."""

from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format  # type: ignore[import-untyped]

from gateway.upstream.embedded.config import schema
from gateway.upstream.embedded.messages import LoadFailure, Refusal
from gateway.upstream.embedded.sequences import Sequence, Sequences

CONTROLS = """
  control_input [
    { name: "START" control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } ] },
    { name: "END" control [ { kind: CONTROL_SEQUENCE_END bool_false_true: [ false, true ] } ] },
    { name: "READY" control [ { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 4, 5 ] } ] },
    { name: "ID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_INT32 } ] },
    { name: "NAME" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_STRING } ] }
  ]
"""


class Clock:
    """Time that a test sets."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def message(batching: str, max_batch_size: int = 0) -> Any:
    text = f'name: "m" max_batch_size: {max_batch_size} sequence_batching {{ {batching} }}'
    return text_format.Parse(text, schema().ModelConfig())


def sequences(batching: str, max_batch_size: int = 0) -> tuple[Sequences, Clock]:
    clock = Clock()
    return Sequences(message(batching, max_batch_size), clock), clock


def test_a_model_is_told_as_its_configuration_says() -> None:
    """Each control input has its name, type and values; an id of the other kind is none."""
    found, _ = sequences("oldest {}" + CONTROLS)
    told = found.admit(Sequence(7, start=True))
    assert {name: (array.dtype, array.tolist()) for name, array in told.items()} == {
        "START": (np.float32, [1.0]),
        "END": (np.bool_, [False]),
        "READY": (np.int32, [5]),
        "ID": (np.int32, [7]),
        "NAME": (np.dtype(object), [""]),
    }
    told = found.admit(Sequence("seven", start=True, end=True))
    assert [told[name].tolist() for name in ("START", "END", "ID", "NAME")] == [[1.0], [True], [0], ["seven"]]
    batched, _ = sequences("oldest {}" + CONTROLS, max_batch_size=4)
    assert batched.admit(Sequence(7, start=True))["ID"].shape == (1, 1)
    with pytest.raises(Refusal, match="does not fit"):
        found.admit(Sequence(2**31, start=True))


def test_a_sequence_that_is_left_alone_ends() -> None:
    """After its idle time, counted from its last request, it has to begin anew; one that goes on stays."""
    found, clock = sequences("max_sequence_idle_microseconds: 10000000 oldest {}")
    for name in (1, 2):
        found.admit(Sequence(name, start=True))
    clock.now_s += 9
    found.admit(Sequence(2))
    clock.now_s += 2
    with pytest.raises(Refusal, match="must specify the START flag"):
        found.admit(Sequence(1))
    found.admit(Sequence(2))


def test_an_idle_time_that_is_not_said_is_a_second() -> None:
    """As in Triton."""
    found, clock = sequences("oldest {}")
    found.admit(Sequence(1, start=True))
    clock.now_s += 0.9
    found.admit(Sequence(1))
    clock.now_s += 1.1
    with pytest.raises(Refusal, match="must specify the START flag"):
        found.admit(Sequence(1))


def test_one_sequence_too_many_is_told_to_come_back() -> None:
    """503 until one of them ends; those that are open go on."""
    found, _ = sequences("oldest { max_candidate_sequences: 2 }")
    for name in (1, 2):
        found.admit(Sequence(name, start=True))
    with pytest.raises(Refusal, match="2 sequences open") as refused:
        found.admit(Sequence(3, start=True))
    assert (refused.value.status, refused.value.headers) == (503, ((b"Retry-After", b"1"),))
    found.admit(Sequence(1, end=True))
    found.admit(Sequence(3, start=True))


@pytest.mark.parametrize(
    ("batching", "words"),
    [
        ("", "'oldest' only"),
        ("direct {}", "'oldest' only"),
        ('oldest {} state [ { input_name: "s" output_name: "t" } ]', "without implicit state"),
        ("oldest {} iterative_sequence: true", "without implicit state"),
        (
            'oldest {} control_input [ { name: "S" control [ { kind: CONTROL_SEQUENCE_START } ] } ]',
            "'S': it does not say what no and yes are",
        ),
        (
            'oldest {} control_input [ { name: "C" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_FP32 } ] } ]',
            "'C': its type is none of an id",
        ),
    ],
)
def test_what_only_triton_has_is_said_at_load(batching: str, words: str) -> None:
    """A model that would be served wrongly is not served."""
    with pytest.raises(LoadFailure, match=words):
        Sequences(message(batching))
