"""What can be asked of a loaded version: infer, generate, and what it says about itself."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np

from gateway.upstream.embedded.arrange import Arranged, Arrays, arrange
from gateway.upstream.embedded.compression import unpacked
from gateway.upstream.embedded.decoupled import EVENTS, only_response, server_sent, streamed
from gateway.upstream.embedded.ensemble import Ensemble
from gateway.upstream.embedded.generate import generate_body, generate_call
from gateway.upstream.embedded.messages import EngineReply, EngineRequest, Refusal
from gateway.upstream.embedded.python_model import PythonModel
from gateway.upstream.embedded.reply import JSON, error_reply, infer_reply
from gateway.upstream.embedded.repository import LoadedVersion
from gateway.upstream.embedded.request import InferCall, header_length, take_apart

LARGE_JSON_BYTES = 2**20

T = TypeVar("T")


class Operations:
    """The operations on loaded versions. Raises Refusal for what cannot be done."""

    def __init__(self, body_limit_bytes: int) -> None:
        self._body_limit_bytes = body_limit_bytes
        # Decoded JSON takes many times its text, and decoding holds the interpreter anyway:
        # one large document at a time bounds the memory of all threads together.
        self._large_json = threading.Lock()
        self._run: Mapping[str, Callable[[LoadedVersion, EngineRequest], EngineReply]] = {
            "infer": self._infer,
            "generate": self._generate,
            "generate_stream": self._generate_stream,
            "metadata": lambda version, _: EngineReply(200, (JSON,), version.metadata_body),
            "config": lambda version, _: EngineReply(200, (JSON,), version.config_body),
            "stats": lambda version, _: EngineReply(200, (JSON,), version.recorder.printed()),
        }

    def run(self, version: LoadedVersion, request: EngineRequest) -> EngineReply:
        """Answers the request with this version."""
        return self._run[request.operation](version, request)

    def _json_turn(self, json_bytes: int) -> AbstractContextManager[Any]:
        return self._large_json if json_bytes > LARGE_JSON_BYTES else nullcontext()

    def _infer(self, version: LoadedVersion, request: EngineRequest) -> EngineReply:
        if version.config.decoupled:
            raise Refusal(501, "HTTP end point doesn't support models with decoupled transaction policy")
        headers = request.headers
        coding = headers.get(b"content-encoding", b"").strip().lower()
        body = unpacked(request.body, coding, self._body_limit_bytes)
        started = time.perf_counter_ns()
        json_bytes = header_length(headers.get(b"inference-header-content-length"), len(body))
        with self._json_turn(json_bytes):
            call = take_apart(body, json_bytes, version.config.name)
        call.asker = request.asker

        def reply(arrays: Arrays) -> EngineReply:
            accept = headers.get(b"accept-encoding", b"")
            return infer_reply(call, version.config, version.version, arrays, version.labels, accept)

        return computed(version, call, arranged_for(version, call), started, reply)

    def _generate(self, version: LoadedVersion, request: EngineRequest) -> EngineReply:
        started = time.perf_counter_ns()
        call = self._generate_call(version, request)
        arranged = arranged_for(version, call)
        if version.config.decoupled:
            return EngineReply(200, (JSON,), only_response(version, call, arranged, started))
        return EngineReply(200, (JSON,), _generated(version, call, arranged, started))

    def _generate_stream(self, version: LoadedVersion, request: EngineRequest) -> EngineReply:
        """An event for each response: one, unless the model is decoupled. What the model refuses is an event too."""
        started = time.perf_counter_ns()
        call = self._generate_call(version, request)
        arranged = arranged_for(version, call)
        if version.config.decoupled:
            return streamed(version, call, arranged, started)
        try:
            status, event = 200, _generated(version, call, arranged, started)
        except Refusal as refusal:
            status, event = refusal.status, error_reply(refusal).body
        return EngineReply(status, (EVENTS,), b"", iter((server_sent(event),)))

    def _generate_call(self, version: LoadedVersion, request: EngineRequest) -> InferCall:
        if request.headers.get(b"content-encoding", b"identity").strip().lower() not in (b"", b"identity"):
            raise Refusal(400, "Unsupported content-encoding, only 'identity' is supported.")
        with self._json_turn(len(request.body)):
            call = generate_call(request.body, version.config)
        call.asker = request.asker
        return call


def _run(
    version: LoadedVersion, outputs: list[str], arranged: Arranged, call: InferCall
) -> list[np.ndarray[Any, Any]]:
    if isinstance(version.model, PythonModel):
        return version.model.run(outputs, arranged.feed, call.sequence.id, call.asker)
    if isinstance(version.model, Ensemble):
        return version.model.run(outputs, arranged.feed, call.asker)
    return version.model.run(outputs, arranged.feed)


def arranged_for(version: LoadedVersion, call: InferCall) -> Arranged:
    """The arrays of a request that the model can take, with what it is told of its sequence."""
    arranged = arrange(call, version.config)
    if version.sequences is None:
        return arranged
    return Arranged({**arranged.feed, **version.sequences.admit(call.sequence)}, arranged.batch_size)


def _generated(version: LoadedVersion, call: InferCall, arranged: Arranged, started_ns: int) -> bytes:
    def body(arrays: Arrays) -> bytes:
        return generate_body(call, version.config, version.version, arrays)

    try:
        return computed(version, call, arranged, started_ns, body)
    except Refusal as refusal:
        # Triton answers every failure of a generate call with the caller's status.
        raise Refusal(400, refusal.words) from refusal


def computed(
    version: LoadedVersion,
    call: InferCall,
    arranged: Arranged,
    started_ns: int,
    answer: Callable[[Arrays], T],
) -> T:
    """Runs the model, makes the answer of its outputs, and counts both."""
    wanted = [spec.name for spec in version.config.outputs if not call.outputs or spec.name in call.outputs]
    began_ns = time.perf_counter_ns()
    try:
        results = _run(version, wanted, arranged, call)
    except Refusal:
        version.recorder.failure(time.perf_counter_ns() - started_ns)
        raise
    ended_ns = time.perf_counter_ns()
    answered = answer(_reshaped(version, arranged.batch_size, dict(zip(wanted, results, strict=True))))
    times = (began_ns - started_ns, ended_ns - began_ns, time.perf_counter_ns() - ended_ns)
    version.recorder.success(arranged.batch_size, *times)
    return answered


def _reshaped(version: LoadedVersion, batch_size: int, arrays: Arrays) -> Arrays:
    """Outputs in the shape that callers see, where the configuration gives the model another one."""
    specs = [spec for spec in version.config.outputs if spec.reshape is not None and spec.name in arrays]
    if not specs:
        return arrays
    batch = (batch_size,) if version.config.max_batch_size else ()
    return {**arrays, **{spec.name: arrays[spec.name].reshape((*batch, *spec.dims)) for spec in specs}}
