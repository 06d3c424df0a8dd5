"""Calls of models that answer a request any number of times: one response for `generate`, events for `generate_stream`."""

import itertools
import time
from collections.abc import Iterator
from typing import Final

from gateway.upstream.embedded.arrange import Arranged
from gateway.upstream.embedded.generate import generate_body
from gateway.upstream.embedded.messages import EngineReply, Refusal
from gateway.upstream.embedded.python_model import Answer, PythonModel
from gateway.upstream.embedded.reply import error_reply
from gateway.upstream.embedded.repository import LoadedVersion
from gateway.upstream.embedded.request import InferCall
from gateway.upstream.embedded.responses import Responses

EVENTS: Final = (b"Content-Type", b"text/event-stream; charset=utf-8")

_NOT_ONE: Final = (
    "generate expects model to produce exactly 1 response, use generate stream for model that generates various "
    "number of responses"
)


def server_sent(data: bytes) -> bytes:
    """One server-sent event."""
    return b"data: " + data + b"\n\n"


def only_response(version: LoadedVersion, call: InferCall, arranged: Arranged, started_ns: int) -> bytes:
    """The body of a `generate` reply. Raises Refusal where the model fails, or gives more than one response, or none."""
    responses = decoupled_model(version).start(arranged.feed, call.sequence.id, call.asker)
    bodies = list(itertools.islice(_bodies(version, call, arranged, started_ns, responses), 2))
    if len(bodies) != 1:
        responses.cancel()
        raise Refusal(400, _NOT_ONE)
    (body,) = bodies
    if isinstance(body, Refusal):
        # Triton answers every failure of a generate call with the caller's status.
        raise Refusal(400, body.words)
    return body


def streamed(version: LoadedVersion, call: InferCall, arranged: Arranged, started_ns: int) -> EngineReply:
    """The reply of `generate_stream`. It waits for the first response, which decides the status, as in Triton."""
    responses = decoupled_model(version).start(arranged.feed, call.sequence.id, call.asker)
    bodies = _bodies(version, call, arranged, started_ns, responses)
    first = next(bodies, None)
    status = 400 if isinstance(first, Refusal) else 200
    begun = () if first is None else (first,)
    events = (
        server_sent(error_reply(body).body if isinstance(body, Refusal) else body)
        for body in itertools.chain(begun, bodies)
    )
    return EngineReply(status, (EVENTS,), b"", events, responses)


def decoupled_model(version: LoadedVersion) -> PythonModel:
    """The model of a decoupled version."""
    assert isinstance(version.model, PythonModel), "no others are decoupled"
    return version.model


def _bodies(
    version: LoadedVersion, call: InferCall, arranged: Arranged, started_ns: int, responses: Responses
) -> Iterator[bytes | Refusal]:
    """The JSON of each response, or why there is none. Which is the final one shows by the end, as in Triton."""
    for content, _ in answers(version, arranged, started_ns, responses):
        if isinstance(content, Refusal):
            yield content
        elif content is not None:
            yield generate_body(call, version.config, version.version, content)


def answers(
    version: LoadedVersion, arranged: Arranged, started_ns: int, responses: Responses
) -> Iterator[Answer]:
    """What the model sends, one after another; at the end the request is counted."""
    outputs = [spec.name for spec in version.config.outputs]
    began_ns = time.perf_counter_ns()
    failed = False
    for answer in decoupled_model(version).arrays(responses, outputs):
        failed = failed or isinstance(answer.content, Refusal)
        yield answer
    ended_ns = time.perf_counter_ns()
    if failed:
        version.recorder.failure(ended_ns - started_ns)
    else:
        version.recorder.success(arranged.batch_size, began_ns - started_ns, ended_ns - began_ns, 0)
