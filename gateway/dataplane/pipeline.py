"""The way of a request, step by step. Every transport comes through here, and there is no other way to an upstream."""

import asyncio
import logging

from gateway.dataplane.admit import admit
from gateway.dataplane.announce import announce, refuse_retired
from gateway.dataplane.authenticate import authenticate
from gateway.dataplane.authorize import authorize
from gateway.dataplane.call import Call
from gateway.dataplane.follow import follow
from gateway.dataplane.forward import forward
from gateway.dataplane.plane import Plane
from gateway.dataplane.resolve import resolve
from gateway.dataplane.translate import translate
from gateway.errors import GatewayError, internal_fault

log = logging.getLogger(__name__)


async def serve(call: Call, plane: Plane) -> None:
    """Answer one call through its sink. Raises `GatewayError` for the transport to translate; records it always."""
    snapshot = plane.snapshot
    trail = call.trail
    try:
        principal = trail.principal = authenticate(call.credentials, snapshot, plane.digest_key, plane.tokens)
        permit = authorize(principal, call.alias, call.operation.action, snapshot)
        announce(permit, call)
        target = trail.target = resolve(permit, call.version, call.routing_key, call.request_id)
        if call.sequence is not None:
            target = trail.target = await follow(call.sequence, target, permit, call, plane)
        refuse_retired(permit, target, call)
        translate(target, call, snapshot)
        async with admit(permit, target, call, plane) as admission:
            await forward(admission, call, plane)
    except GatewayError as error:
        trail.error = error
        trail.fields += error.fields
        raise
    except asyncio.CancelledError:
        trail.gone = True
        raise
    except Exception as fault:
        ids = {"request_id": call.request_id, "trace_id": call.trace_id}
        log.exception("request %s failed inside the gateway", call.request_id, extra=ids)
        trail.error = internal_fault()
        raise trail.error from fault
    finally:
        plane.recorder.record(call)
