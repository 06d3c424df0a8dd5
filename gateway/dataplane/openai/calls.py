"""A request on /v1, once its body is here: read, and sent through the pipeline."""

from functools import partial

from gateway.dataplane import pipeline
from gateway.dataplane.authenticate import authenticate
from gateway.dataplane.call import Call
from gateway.dataplane.openai.embeddings import translate_embeddings
from gateway.dataplane.openai.errors import name_the_model
from gateway.dataplane.openai.limits import tell_limits
from gateway.dataplane.openai.requests import read_chat, read_completion, read_embeddings
from gateway.dataplane.openai.stream import Stream
from gateway.dataplane.openai.text import translate_text
from gateway.dataplane.plane import Plane
from gateway.errors import GatewayError
from gateway.types import OPERATIONS, Principal


class OpenAICalls:
    """Serves calls of one plane."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def identify(self, call: Call) -> Principal:
        """Who calls, for what must not be done for strangers before the pipeline asks. Raises UNAUTHENTICATED."""
        plane = self._plane
        found = authenticate(call.credentials, plane.snapshot, plane.digest_key, plane.tokens)
        call.trail.principal = found
        return found

    async def serve(self, call: Call, page: str, body: bytes) -> None:
        """Answer one call, whose alias and operation are in its body. Raises `GatewayError` and records, as the pipeline does.

        A stream that has begun tells of an error itself.
        """
        try:
            self._read(call, page, body)
        except GatewayError as error:
            self.refuse(call, error)
            raise
        try:
            await pipeline.serve(call, self._plane)
        except GatewayError as error:
            if isinstance(call.sink, Stream) and call.sink.begun:
                call.sink.fail(error)
                error.let_go()
                return
            tell_limits(call.trail)
            name_the_model(error)
            raise
        finally:
            # The sink knows the trail, and the exchange the sink: undone here, they go at once.
            call.trail.exchange = None

    def refuse(self, call: Call, error: GatewayError) -> None:
        """Record a call that does not come to the pipeline. Raises UNAUTHENTICATED instead for who may not learn why."""
        trail = call.trail
        try:
            if trail.principal is None:
                self.identify(call)
            trail.error = error
        except GatewayError as unknown:
            trail.error = unknown
            raise
        finally:
            self._plane.recorder.record(call)

    def _read(self, call: Call, page: str, body: bytes) -> None:
        if page == "v1/embeddings":
            wanted = read_embeddings(body)
            call.alias = wanted.model
            call.operation = OPERATIONS["infer"]
            call.translation = partial(translate_embeddings, wanted)
            return
        asked = read_chat(body) if page == "v1/chat/completions" else read_completion(body)
        call.alias = asked.model
        call.operation = OPERATIONS["generate_stream" if asked.stream else "generate"]
        if asked.stream:
            call.timeout_s = self._plane.limits.max_deadline_s
        call.translation = partial(translate_text, asked, self._plane.render)
