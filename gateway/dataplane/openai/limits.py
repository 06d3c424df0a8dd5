"""OpenAI's own fields for rate limits, beside the standard ones that say the same."""

import re
from collections.abc import Iterator

from gateway.dataplane.call import Trail
from gateway.types import Field

_UNITS = {None: b"requests", b"tokens": b"tokens"}
_POLICY = re.compile(rb'"([^"]+)";q=([0-9]+)(?:;w=[0-9]+)?(?:;qu="([a-z-]+)")?')
_STANDING = re.compile(rb'"([^"]+)";r=([0-9]+)(?:;t=([0-9]+))?')


def tell_limits(trail: Trail) -> None:
    """Tell the caller with the reply where the tightest limit of requests, and that of tokens, stands."""
    known = dict(trail.fields)
    if b"RateLimit-Policy" in known and b"RateLimit" in known:
        trail.fields += tuple(_fields(known[b"RateLimit-Policy"], known[b"RateLimit"]))


def _fields(policy: bytes, standing: bytes) -> Iterator[Field]:
    limits = {name: (int(quota), unit or None) for name, quota, unit in _POLICY.findall(policy)}
    rows = [
        (int(left), limits[name][0], after, limits[name][1])
        for name, left, after in _STANDING.findall(standing)
        if name in limits
    ]
    for unit, word in _UNITS.items():
        ours = [row[:3] for row in rows if row[3] == unit]
        if ours:
            left, quota, after = min(ours)
            yield b"x-ratelimit-limit-" + word, b"%d" % quota
            yield b"x-ratelimit-remaining-" + word, b"%d" % left
            if after:
                yield b"x-ratelimit-reset-" + word, after + b"s"
