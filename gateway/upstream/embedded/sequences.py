"""Which sequences a model has open, and the control inputs that tell it about them: Triton's sequence batcher in small.

Words and order of the checks are Triton's. A sequence begins with a request that says so, ends with one that says so,
or when nobody goes on with it for a while. Only the strategy `oldest`, where the model keeps the state by sequence id.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np

from gateway.upstream.embedded.config import schema
from gateway.upstream.embedded.datatypes import BY_CONFIG_NAME, BYTES
from gateway.upstream.embedded.messages import LoadFailure, Refusal

Array = np.ndarray[Any, Any]

DEFAULT_IDLE_US: Final = 1_000_000
DEFAULT_MOST: Final = 1024
"""Triton's own, where the configuration says nothing."""

START, READY, END, CORRID = range(4)  # the numbers of the schema's `Control.Kind`
RETRY_AFTER: Final = (b"Retry-After", b"1")


class Sequence(msgspec.Struct, frozen=True):
    """What a request says of its sequence. An id of 0 or "" is none."""

    id: int | str = 0
    start: bool = False
    end: bool = False


NO_SEQUENCE: Final = Sequence()


class Control(msgspec.Struct, frozen=True):
    """One control input: its name, its kind, and what it says for no and for yes (nothing for an id)."""

    name: str
    kind: int
    dtype: np.dtype[Any]
    values: tuple[Any, ...]


class Sequences:
    """The open sequences of one version. Raises LoadFailure for what only Triton has."""

    def __init__(self, message: Any, clock: Callable[[], float] = time.monotonic) -> None:
        batching = message.sequence_batching
        if (
            batching.WhichOneof("strategy_choice") != "oldest"
            or batching.state
            or batching.iterative_sequence
        ):
            raise LoadFailure(
                f"model '{message.name}': of sequence batching the embedded engine has the strategy 'oldest' only, "
                "without implicit state"
            )
        batching.max_sequence_idle_microseconds = batching.max_sequence_idle_microseconds or DEFAULT_IDLE_US
        oldest = batching.oldest
        oldest.max_candidate_sequences = oldest.max_candidate_sequences or DEFAULT_MOST
        self._model = message.name
        self._idle_s = batching.max_sequence_idle_microseconds / 1e6
        self._most = oldest.max_candidate_sequences
        self._shape = (1, 1) if message.max_batch_size else (1,)
        self._controls = [
            _control(message.name, entry.name, control)
            for entry in batching.control_input
            for control in entry.control
        ]
        self._clock = clock
        self._lock = threading.Lock()
        # When each was last used, the longest ago first.
        self._open: OrderedDict[int | str, float] = OrderedDict()

    def admit(self, sequence: Sequence) -> dict[str, Array]:
        """The control inputs of a request of this sequence. Raises Refusal where it has not begun, or has no id."""
        if not sequence.id:
            raise Refusal(
                400,
                f"inference request to model '{self._model}' must specify a non-zero or non-empty correlation ID",
            )
        with self._lock:
            self._keep(sequence)
        return {control.name: self._said(control, sequence) for control in self._controls}

    def _keep(self, sequence: Sequence) -> None:
        now = self._clock()
        while self._open and next(iter(self._open.values())) < now - self._idle_s:
            self._open.popitem(last=False)
        if not sequence.start and sequence.id not in self._open:
            raise Refusal(
                400,
                f"inference request for sequence {sequence.id} to model '{self._model}' must specify the START flag "
                "on the first request of the sequence",
            )
        if sequence.id not in self._open and len(self._open) >= self._most:
            # Triton would let it wait until another one ends.
            raise Refusal(503, f"model '{self._model}' has {self._most} sequences open", (RETRY_AFTER,))
        if sequence.end:
            self._open.pop(sequence.id, None)
        else:
            self._open[sequence.id] = now
            self._open.move_to_end(sequence.id)

    def _said(self, control: Control, sequence: Sequence) -> Array:
        if control.kind != CORRID:
            said = {START: sequence.start, END: sequence.end, READY: True}[control.kind]
            return np.full(self._shape, control.values[said], control.dtype)
        # An id of the other kind is none to the model, as in Triton.
        if control.dtype == object:
            return np.full(self._shape, sequence.id if isinstance(sequence.id, str) else "", object)
        number = sequence.id if isinstance(sequence.id, int) else 0
        limit = np.iinfo(control.dtype)
        if not limit.min <= number <= limit.max:
            raise Refusal(400, f"sequence id {number} does not fit the id of model '{self._model}'")
        return np.full(self._shape, number, control.dtype)


def _control(model: str, name: str, control: Any) -> Control:
    if control.kind == CORRID:
        kind = BY_CONFIG_NAME.get(schema().DataType.Name(control.data_type))
        if kind is None or (kind is not BYTES and kind.numpy.kind not in "iu"):
            raise LoadFailure(f"model '{model}', control input '{name}': its type is none of an id")
        return Control(name, control.kind, kind.numpy, ())
    for values, dtype in (
        (control.int32_false_true, np.int32),
        (control.fp32_false_true, np.float32),
        (control.bool_false_true, np.bool_),
    ):
        if len(values) == 2:
            return Control(name, control.kind, np.dtype(dtype), tuple(values))
    raise LoadFailure(f"model '{model}', control input '{name}': it does not say what no and yes are")
