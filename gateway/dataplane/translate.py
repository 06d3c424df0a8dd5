"""Calls in other words than the target's own protocol are translated, once it is known that they may be made."""

from gateway.dataplane.call import Call
from gateway.snapshot.compile import Snapshot
from gateway.types import Target


def translate(target: Target, call: Call, snapshot: Snapshot) -> None:
    """Have the call speak the target's protocol, if it does not. Raises BAD_REQUEST for what cannot be said in it."""
    if call.translation is not None:
        call.translation(target, call, snapshot)
