"""`/v1/models`: the aliases that the caller may call in OpenAI's words."""

import time

import msgspec

from gateway.dataplane.authorize import authorize, may_infer
from gateway.dataplane.call import Call
from gateway.errors import GatewayError, Kind
from gateway.snapshot.compile import Snapshot
from gateway.snapshot.deprecation import is_off
from gateway.types import Alias, Principal


def list_models(principal: Principal, snapshot: Snapshot) -> bytes:
    """The document of all that serve now. Raises UNAVAILABLE where the policy cannot be decided."""
    now = time.time()
    found = [
        _model(alias, snapshot)
        for name in snapshot.adapters
        if may_infer(principal, alias := snapshot.aliases[name], snapshot)
        and not (alias.deprecation is not None and is_off(alias.deprecation, now))
    ]
    return msgspec.json.encode({"object": "list", "data": found})


def show_model(principal: Principal, name: str, call: Call, snapshot: Snapshot) -> bytes:
    """The document of one. Raises NOT_FOUND or FORBIDDEN, as a call of it would."""
    alias = authorize(principal, name, "infer", snapshot).alias
    if name not in snapshot.adapters:
        raise GatewayError(
            Kind.NOT_FOUND,
            f"Alias {name!r} is not called by way of this API; its owner can give it an adapter.",
        )
    if alias.deprecation is not None:
        call.trail.fields += alias.deprecation.fields
    return msgspec.json.encode(_model(alias, snapshot))


def _model(alias: Alias, snapshot: Snapshot) -> dict[str, object]:
    return {
        "id": alias.name,
        "object": "model",
        "created": int(snapshot.created_at),
        "owned_by": alias.team,
    }
