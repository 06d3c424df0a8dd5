"""What the pipeline keeps of a call, however it ends."""

import asyncio

import pytest

from gateway.dataplane import pipeline
from gateway.dataplane.call import Call, Credentials, Trail
from gateway.dataplane.plane import Plane
from gateway.dataplane.record import Recorder
from gateway.errors import GatewayError, Kind, Source
from gateway.observe.logs import AccessLog, AccessRecord
from gateway.observe.trace_context import NO_TRACE
from gateway.settings import Inference, Upstream
from gateway.types import OPERATIONS
from gateway.upstream.exchange import Exchange
from gateway.upstream.pools import Pools


class Kept(AccessLog):
    """An access log that can be looked at."""

    def __init__(self) -> None:
        super().__init__("-")
        self.records: list[AccessRecord] = []

    def append(self, record: AccessRecord) -> None:
        """Keep the record."""
        self.records.append(record)


async def serve(monkeypatch: pytest.MonkeyPatch, fault: BaseException) -> tuple[BaseException, AccessRecord]:
    """One call whose authentication ends with `fault`: what came out, and what was logged."""
    log = Kept()
    plane = Plane(Inference(), b"k" * 32, Pools(Upstream()), Recorder(log))

    def fails(*_: object) -> None:
        raise fault

    monkeypatch.setattr(pipeline, "authenticate", fails)
    call = Call(
        "http", OPERATIONS["infer"], "digits", None, Credentials(None, b"x", 1), None, "id-1", b"", b"", None,
        None, NO_TRACE, None, None, None, Trail(0.0),  # type: ignore[arg-type]
    )  # fmt: skip
    with pytest.raises(BaseException) as raised:
        await pipeline.serve(call, plane)
    return raised.value, log.records[0]


def test_a_fault_of_the_gateways_own_is_recorded_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that nobody expected is answered and logged as the gateway's fault, not as a caller who went."""
    raised, record = asyncio.run(serve(monkeypatch, KeyError("surprise")))
    assert isinstance(raised, GatewayError)
    assert (raised.kind, raised.source) == (Kind.INTERNAL, Source.GATEWAY)
    assert "surprise" not in raised.detail
    assert (record.outcome, record.status, record.request_id) == ("internal", 500, "id-1")


def test_a_caller_who_goes_is_recorded_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is cancelled counts as its caller's end."""
    raised, record = asyncio.run(serve(monkeypatch, asyncio.CancelledError()))
    assert isinstance(raised, asyncio.CancelledError)
    assert (record.outcome, record.status) == ("caller_gone", 499)


def test_a_refusal_is_recorded_by_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Metrics and log say what the caller was told."""
    refusal = GatewayError(Kind.UNAUTHENTICATED, "no")
    raised, record = asyncio.run(serve(monkeypatch, refusal))
    assert raised is refusal
    assert (record.outcome, record.status) == ("unauthenticated", 401)


def test_a_caller_who_closes_with_the_whole_reply_in_hand_has_not_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The end of the connection may be seen before the task that waited for the reply goes on."""

    async def story() -> AccessRecord:
        log = Kept()
        plane = Plane(Inference(), b"k" * 32, Pools(Upstream()), Recorder(log))
        operation = OPERATIONS["infer"]
        done = asyncio.get_running_loop().create_future()
        exchange = Exchange(operation, b"", b"", None, None, 0.0, done)  # type: ignore[arg-type]
        call = Call(
            "http", operation, "digits", None, Credentials(None, b"x", 1), None, "id-1", b"", b"", None,
            None, NO_TRACE, None, None, None, Trail(0.0),  # type: ignore[arg-type]
        )  # fmt: skip
        call.trail.exchange = exchange

        def ends(*_: object) -> None:
            exchange.status = 200
            exchange.finish()
            raise asyncio.CancelledError

        monkeypatch.setattr(pipeline, "authenticate", ends)
        with pytest.raises(asyncio.CancelledError):
            await pipeline.serve(call, plane)
        return log.records[0]

    record = asyncio.run(story())
    assert (record.outcome, record.status) == ("ok", 200)
