"""Alias to pinned version: weighted and sticky, or the version that the caller names."""

from bisect import bisect_right

from gateway.errors import GatewayError, Kind
from gateway.observe.metrics import RESOLUTIONS
from gateway.snapshot.split import bucket_of
from gateway.types import MAX_VERSION, VERSION, Alias, Permit, Target

_count = RESOLUTIONS.by


def read_version(text: str) -> int:
    """A version as callers write it. Raises BAD_REQUEST for what is none."""
    if not VERSION.fullmatch(text) or int(text) > MAX_VERSION:
        raise GatewayError(Kind.BAD_REQUEST, f"The version must be a whole number from 1 to {MAX_VERSION}.")
    return int(text)


def resolve(permit: Permit, version: int | None, routing_key: bytes | None, request_id: str) -> Target:
    """The target of this request.

    Without a named version the routing key's bucket decides; it is the caller's own key, else the principal, else,
    for an alias that is not sticky, the request id. Raises NOT_FOUND for a version that is neither live nor pinnable.
    """
    alias = permit.alias
    if version is not None:
        target = alias.live.get(version)
        if target is None and permit.may_pin:
            target = alias.pinnable.get(version)
        if target is None:
            _count["not_live"] += 1
            raise GatewayError(
                Kind.NOT_FOUND,
                f"Version {version} is not a live target of alias {alias.name!r}; call it without one.",
            )
        _count["pinned"] += 1
        return target
    if len(alias.owners) == 1:
        _count["only"] += 1
        return alias.owners[0]
    if not alias.sticky:
        key = request_id.encode()
        _count["request_id"] += 1
    elif routing_key is not None:
        key = routing_key
        _count["routing_key"] += 1
    else:
        key = permit.principal.id.encode()
        _count["principal"] += 1
    return target_for(alias, key)


def target_for(alias: Alias, key: bytes) -> Target:
    """The target whose slice has the key's bucket."""
    return alias.owners[bisect_right(alias.bounds, bucket_of(alias.salt, key))]
