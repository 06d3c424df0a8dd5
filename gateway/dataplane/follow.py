"""Where the sequence of a request is, or is to be: one version and one endpoint, from its first request to its last.

Where nothing is remembered of it (it begins, or the gateway was started anew) the place follows from its name, the split and
the endpoints that are ready, so that every worker and host comes to the same one.
"""

import secrets

from gateway.dataplane.call import Call, SequenceRequest
from gateway.dataplane.plane import Plane
from gateway.dataplane.resolve import target_for
from gateway.dataplane.sequences.lost import lost
from gateway.dataplane.sequences.place import Place
from gateway.snapshot.compile import Snapshot
from gateway.supervisor.pins import Pin
from gateway.types import Alias, Permit, Target


async def follow(
    request: SequenceRequest, target: Target, permit: Permit, call: Call, plane: Plane
) -> Target:
    """The target of the sequence that the call belongs to, if it does to one; else `target`, which it was resolved to.

    The call then goes upstream under an id that no other tenant has, to the place that the sequence has. Raises CONFLICT where that
    is gone, UNAVAILABLE where it cannot be told or no server is ready to be it, and as `SequenceRequest.read`.
    """
    asked = await request.read(call)
    if asked is None:
        return target
    sequences = plane.sequences
    assert sequences is not None
    alias = permit.alias
    name = sequences.name(permit.principal.id, alias.name, call.version, asked)
    pin = None if asked.start else await sequences.pins.find(name)
    new = pin is None
    if pin is None:
        if call.version is None and not alias.sticky:
            target = target_for(alias, name.key)
        place = plane.pools.get(target.pool).place(target, name.key)
        pin = Pin(secrets.randbits(64), target.model, target.version, place)
    else:
        found = _target_of(pin, alias, plane.snapshot)
        if found is None:
            raise lost("version", asked.id)
        target = found
    idle_s = await sequences.idle_s(target, plane.pools.get(target.pool))
    call.place = Place(asked, name, pin, new, idle_s, sequences.pins)
    request.send_as(call, asked, name.upstream_id)
    return target


def _target_of(pin: Pin, alias: Alias, snapshot: Snapshot) -> Target | None:
    """The version that a sequence is on, also where its alias has moved on; None where it is registered no more."""
    live = alias.live.get(pin.version)
    return (
        live if live is not None and live.model == pin.model else snapshot.target_of(pin.model, pin.version)
    )
