"""One caller's `ModelStreamInfer`: each message on it is a call of the pipeline, with a target and an admission of its own.

Replies pass in Triton's order: those of a model with one reply for each request in the order of the requests, those of a
decoupled model as they come. Which kind a model is shows when a request of it has any other number of replies than one; until
then a request's replies wait until each request before it has had its first. Messages of one sequence go one after another.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from gateway.dataplane import pipeline
from gateway.dataplane.call import Call, Trail
from gateway.dataplane.grpc.messages import InferHead, stream_error
from gateway.dataplane.grpc.reply import told
from gateway.dataplane.grpc.status import CODES, code_of_reply, problem
from gateway.dataplane.grpc.stream_call import StreamCall
from gateway.dataplane.plane import Plane
from gateway.errors import GatewayError
from gateway.rpc.codes import RpcFault, Status
from gateway.types import Field, Principal, Target
from gateway.upstream.exchange import GRPC_STATUS, Headers, ReplySource

MOST_AT_ONCE = 64
"""Requests of one stream that are under way; no more are read until one has ended."""

_MOST_KNOWN = 10_000


class Failure(msgspec.Struct, frozen=True):
    """What ends a whole stream: its code, its words, and the trailing metadata."""

    code: Status
    words: str
    trailing: tuple[Field, ...] = ()

    @classmethod
    def of(cls, error: GatewayError, request_id: str) -> "Failure":
        """That of an error of the gateway's."""
        return cls(CODES[error.kind], error.detail, problem(error, request_id))


class Order:
    """The order of a stream's requests, as long as they have not been answered."""

    def __init__(self) -> None:
        self._unanswered: dict[int, asyncio.Event] = {}
        self._places = 0

    def take(self) -> int:
        """The place of the next request."""
        self._places += 1
        self._unanswered[self._places] = asyncio.Event()
        return self._places

    async def come(self, place: int) -> None:
        """Wait until each request before this one has been answered once, or has ended."""
        while earlier := [event for other, event in self._unanswered.items() if other < place]:
            await earlier[0].wait()

    def answered(self, place: int) -> None:
        """Those behind need not wait for this one any more."""
        event = self._unanswered.pop(place, None)
        if event is not None:
            event.set()


class Outlet:
    """The way back to the caller: one message after another, and before the first what is told with it."""

    def __init__(self, call: StreamCall, *, real_status: bool) -> None:
        self.real_status = real_status
        self.failed: asyncio.Future[Failure] = asyncio.get_running_loop().create_future()
        self._call = call
        self._one = asyncio.Lock()
        self._told = False

    async def write(self, reply: "StreamReply", message: bytes) -> None:
        """Pass a message on; waits until the caller takes it."""
        async with self._one:
            if not self._told:
                self._told = True
                self._call.tell(told(reply.trail, reply.request_id))
            await self._call.write(message)

    def fail(self, failure: Failure) -> None:
        """End the stream with a status."""
        if not self.failed.done():
            self.failed.set_result(failure)


class StreamReply:
    """The replies to one message of a stream: a `Sink` for the upstream, passed on by `pass_on`."""

    def __init__(self, outlet: Outlet, order: Order, request_id: str) -> None:
        self.request_id = request_id
        self.message_id = ""
        self.trail: Trail | None = None
        self.count = 0
        self._outlet = outlet
        self._order = order
        self._place = order.take()
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._source: ReplySource | None = None

    # --- from the upstream ---

    def reply_whole(self, status: int, headers: Headers, body: bytes) -> None:
        """The words of an error: a stream that ended with a status."""
        if status == 200:
            self._waiting.put_nowait(body)
            return
        self.fail(
            Failure(code_of_reply(status, dict(headers).get(GRPC_STATUS)), body.decode("utf-8", "replace"))
        )

    def reply_head(self, status: int, headers: Headers, length: int | None, source: ReplySource) -> None:
        """Messages follow."""
        self._source = source

    def reply_data(self, data: bytes | memoryview) -> None:
        """The next message. The one after it is not read before this one has been passed on."""
        self._waiting.put_nowait(bytes(data))
        if self._source is not None:
            self._source.pause_reading()

    def reply_end(self) -> None:
        """There are no more."""
        self._source = None

    # --- to the caller ---

    def fail(self, failure: Failure) -> None:
        """Tell of an error: as a message, or as the end of the stream where its caller asked for that."""
        if self._outlet.real_status:
            self._outlet.fail(failure)
        else:
            self._waiting.put_nowait(stream_error(failure.words, self.message_id))

    def end(self) -> None:
        """Nothing more will come."""
        self._waiting.put_nowait(None)

    async def pass_on(self, in_order: Callable[[], bool]) -> None:
        """Pass on what comes, in its turn where `in_order` says so, until the end."""
        try:
            while (message := await self._waiting.get()) is not None:
                if not self.count and in_order():
                    await self._order.come(self._place)
                self.count += 1
                await self._outlet.write(self, message)
                self._order.answered(self._place)
                if self._source is not None and self._waiting.empty():
                    self._source.resume_reading()
        finally:
            self._order.answered(self._place)


class Stream:
    """One caller's stream. `answer` carries one message out; `principal` is who sent the last one."""

    def __init__(
        self,
        call: StreamCall,
        answer: "Callable[[Stream, bytes], Awaitable[None]]",
        *,
        real_status: bool,
    ) -> None:
        self.outlet = Outlet(call, real_status=real_status)
        self.order = Order()
        self.principal: Principal | None = None
        self._call = call
        self._answer = answer
        self._room = asyncio.Semaphore(MOST_AT_ONCE)
        self._sequences: dict[tuple[str, str, int | str], asyncio.Event] = {}
        self._leaving = False

    async def run(self) -> None:
        """Answer what comes until the caller has no more, and end with the status that this comes to."""
        failed = self.outlet.failed
        working = asyncio.ensure_future(self._work())
        try:
            await asyncio.wait((working, failed), return_when=asyncio.FIRST_COMPLETED)
            if not failed.done():
                await working
        finally:
            working.cancel()
            # What is under way ends upstream before the stream does.
            await asyncio.wait((working,))
        if failed.done():
            failure = failed.result()
            self._call.end(failure.code, failure.words, failure.trailing)
        else:
            self._call.end(Status.OK)

    def leave(self) -> None:
        """Read no more messages, and end once those that were read are answered: the gateway is going away."""
        self._leaving = True
        self._call.read_no_more()

    def cut(self, error: GatewayError) -> None:
        """End at once."""
        self.outlet.fail(Failure.of(error, ""))

    @contextlib.asynccontextmanager
    async def sequence(self, named: InferHead) -> AsyncIterator[None]:
        """The turn of a request among those of its sequence, which a model must see in order."""
        if named.sequence is None:
            yield
            return
        key = (named.name, named.version, named.sequence.id)
        before, ended = self._sequences.get(key), asyncio.Event()
        self._sequences[key] = ended
        try:
            if before is not None:
                await before.wait()
            yield
        finally:
            ended.set()
            if self._sequences.get(key) is ended:
                del self._sequences[key]

    async def _work(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                while (message := await self._next()) is not None:
                    await self._room.acquire()
                    group.create_task(self._one(message))
                    # An idle stream keeps no message.
                    del message
        except asyncio.CancelledError as error:
            # Ended here: the task would keep the error, and that its frames, and one of those the error.
            error.__traceback__ = None
            return
        if self._leaving:
            self.outlet.fail(Failure(Status.UNAVAILABLE, "The gateway is going away; open a new stream."))

    async def _one(self, message: bytes) -> None:
        try:
            await self._answer(self, message)
        finally:
            self._room.release()

    async def _next(self) -> bytes | None:
        """The next message; None when there is none any more, or none is wanted."""
        try:
            return await self._call.read()
        except RpcFault as fault:
            self.outlet.fail(Failure(fault.status, fault.words))
            return None


class Decoupled:
    """Which versions were seen to answer a request with none, or several, replies."""

    def __init__(self) -> None:
        self._known: set[tuple[str, int]] = set()

    def __contains__(self, target: Target | None) -> bool:
        return target is not None and (target.model, target.version) in self._known

    def note(self, target: Target | None, replies: int) -> None:
        """A request of the target ended well with so many replies."""
        if target is not None and replies != 1:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known.add((target.model, target.version))


async def refuse_message(reply: StreamReply, error: GatewayError) -> None:
    """Tell of a message that never came to the pipeline."""
    reply.fail(Failure.of(error, reply.request_id))
    reply.end()
    await reply.pass_on(lambda: True)


async def answer_message(call: Call, reply: StreamReply, plane: Plane, decoupled: Decoupled) -> None:
    """Carry one message out, and pass on its replies."""
    trail = call.trail
    passing = asyncio.ensure_future(reply.pass_on(lambda: trail.target not in decoupled))
    try:
        try:
            await pipeline.serve(call, plane)
        except GatewayError as error:
            reply.fail(Failure.of(error, reply.request_id))
        reply.end()
        await passing
        if trail.error is None and trail.exchange is not None and trail.exchange.status == 200:
            decoupled.note(trail.target, reply.count)
    finally:
        passing.cancel()
