"""The right to forward one request, held until its reply is complete. The only place that makes an `Admission`."""

import time
from types import TracebackType

from gateway.dataplane.authenticate import credential_gone
from gateway.dataplane.call import Call
from gateway.dataplane.concurrency.criticality import level_of
from gateway.dataplane.concurrency.gate import Gate, Share
from gateway.dataplane.plane import Plane
from gateway.dataplane.quota.taken import Taken
from gateway.errors import GatewayError, Kind, Source
from gateway.types import Admission, Permit, Target


class admit:  # noqa: N801 - read as a verb: `async with admit(...) as admission`
    """Admits a permitted request to its target until its deadline, once it has its quotas, and then a slot among the
    version's calls in flight. Quotas come first: who is over them takes nobody's turn.

    The deadline is the caller's own, if there is one, never above the limit of the settings. Questions about a model
    (its metadata, its readiness) take neither: they tell what is going on when there is nothing left.
    """

    __slots__ = ("_admission", "_call", "_level", "_plane", "_taken")

    def __init__(self, permit: Permit, target: Target, call: Call, plane: Plane) -> None:
        limits = plane.limits
        wish_s = call.timeout_s
        allowed_s = limits.deadline_s if wish_s is None else min(wish_s, limits.max_deadline_s)
        self._admission = Admission(permit, target, time.monotonic() + allowed_s)
        self._level = level_of(call.criticality, permit)
        self._call = call
        self._plane = plane
        self._taken: Taken | None = None

    async def __aenter__(self) -> Admission:
        """Take all that is asked for or nothing. Raises QUOTA_EXCEEDED, UNAVAILABLE where it is the gateway that is short, or
        DEADLINE when there was no slot in all the time that the call had.
        """
        admission, plane, call = self._admission, self._plane, self._call
        if call.operation.action != "infer":
            return admission
        if plane.quotas is not None:
            taken = plane.quotas.take(admission.permit, admission.target, call, time.monotonic())
            # Where workers share their quotas, the others may have to be asked.
            self._taken = taken if taken is None or isinstance(taken, Taken) else await taken
        if plane.gates is not None:
            gate = plane.gates.of(admission.target)
            share = gate.enter(admission.permit.principal.id, self._level)
            call.trail.share = await self._wait(gate) if share is None else share
        return admission

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The reply is complete, or will never be: let go of what was held, put right what was estimated."""
        call = self._call
        share, call.trail.share = call.trail.share, None
        if share is not None:
            # Triton knows of a timeout only from an inference's own parameters.
            own_timeout = call.timeout_s is not None and call.operation.name in ("infer", "stream_infer")
            share.leave(call.trail.exchange, error, own_timeout)
        if self._taken is not None:
            if error is not None and _never_begun(error, call):
                self._taken.give_back(time.monotonic())
            else:
                self._taken.end(call, time.monotonic())

    async def _wait(self, gate: Gate) -> Share:
        principal, trail = self._admission.permit.principal, self._call.trail
        began = time.monotonic()
        taken = self._taken
        if taken is not None:
            taken.wait(began)
        try:
            share = await gate.wait(principal.id, self._level, self._admission.deadline)
            if not self._plane.accepts(principal, time.time()):
                share.leave()
                raise credential_gone()
        except BaseException:
            if taken is not None:
                taken.give_back(time.monotonic())
            raise
        finally:
            trail.queued_s = time.monotonic() - began
        if taken is not None:
            taken.go(time.monotonic())
        return share


def _never_begun(error: BaseException, call: Call) -> bool:
    """Whether no server has begun with the call, and not for its caller's sake."""
    if not isinstance(error, GatewayError) or error.source is Source.CALLER:
        return False
    exchange = call.trail.exchange
    # A server that has unloaded the version meanwhile was asked, and has computed nothing.
    return error.kind is Kind.UNAVAILABLE or exchange is None or not exchange.started
