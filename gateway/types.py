"""The small frozen types that a request turns into on its way; each step of the pipeline returns the next one.

`Permit` is made only by `dataplane.authorize`, `Admission` only by `dataplane.admit`: holding one is the proof.
"""

import re
from typing import Literal

import msgspec

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
NAME = re.compile(NAME_PATTERN)
"""Names of aliases, models, teams and pools; always matched whole (`fullmatch`)."""

VERSION = re.compile(r"[1-9][0-9]{0,18}")
"""How a version's number is written; always matched whole, and `MAX_VERSION` at most."""

PRINCIPAL = re.compile(rf"(?:app|user):{NAME_PATTERN}")
"""Principals: an application or a person."""

ROLE = re.compile(rf"role:{NAME_PATTERN}")
"""Roles of the policy."""

Roles = tuple[tuple[str, str], ...]
"""Roles that a token gives its principal, each within a team (`*`: in every team)."""

WHOLE_BP = 10_000
"""The weights of an alias, in basis points, sum to this."""

MAX_VERSION = 2**63 - 1
"""Triton keeps a model version in a signed 64-bit integer."""

Arm = Literal["stable", "candidate", "shadow"]
Action = Literal["infer", "pin", "read", "flip", "approve", "admin", "critical-plus"]

OperationName = Literal[
    "infer", "stream_infer", "generate", "generate_stream", "metadata", "ready", "config", "stats"
]


class Operation(msgspec.Struct, frozen=True):
    """What can be asked of a model version: the right that it needs, its HTTP method, and what its path ends in."""

    name: OperationName
    action: Action
    method: bytes
    suffix: bytes


OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        Operation("infer", "infer", b"POST", b"/infer"),
        Operation("generate", "infer", b"POST", b"/generate"),
        Operation("generate_stream", "infer", b"POST", b"/generate_stream"),
        Operation("metadata", "read", b"GET", b""),
        Operation("ready", "read", b"GET", b"/ready"),
        Operation("config", "read", b"GET", b"/config"),
        Operation("stats", "read", b"GET", b"/stats"),
    )
}


RPC_METHODS: dict[OperationName, str] = {
    "infer": "ModelInfer",
    "stream_infer": "ModelStreamInfer",
    "metadata": "ModelMetadata",
    "ready": "ModelReady",
    "config": "ModelConfig",
    "stats": "ModelStatistics",
}
"""The method of `inference.GRPCInferenceService` that asks for an operation; `generate` has none."""


STREAM_INFER = Operation("stream_infer", "infer", b"POST", b"")
"""One message on a caller's gRPC stream, answered with any number of replies. It has no path."""


class Principal(msgspec.Struct, frozen=True):
    """Who calls. `expires_at` is the credential's end in Unix seconds, or None.

    `key_id` names the API key; of a token, whose `issuer` is then not empty, the key that signed it. `roles` are those that
    the token gives, beside those of the policy.
    """

    id: str
    key_id: str
    expires_at: float | None = None
    roles: Roles = ()
    issuer: str = ""


class Pool(msgspec.Struct, frozen=True):
    """A named set of Triton servers, or the embedded engine (then without endpoints).

    `grpc_endpoints` are as many as the endpoints, or none: then each speaks gRPC on the port behind its own.
    """

    name: str
    engine: Literal["triton", "embedded"]
    endpoints: tuple[str, ...] = ()
    grpc_endpoints: tuple[str, ...] = ()


Field = tuple[bytes, bytes]
"""A header field: its name and value. Over gRPC the name is lower-cased."""


class Deprecation(msgspec.Struct, frozen=True):
    """The announced end of an alias or a version. Moments in Unix seconds; `brownouts` are [start, end), in order and apart.

    `fields` are told with every reply, `links` are what their Link field holds. `gone_at` is the moment from which on
    nothing is served any more, if there is one.
    """

    fields: tuple[Field, ...]
    deprecated_at: float
    sunset_at: float | None
    gone_at: float | None
    brownouts: tuple[tuple[float, float], ...]
    successor: str | None
    links: tuple[str, ...]


class Target(msgspec.Struct, frozen=True):
    """One pinned model version that an alias sends traffic to.

    `upstream_path` is the version's path on Triton, `served_by` the value of `Maas-Served-By`. `deprecation` is the
    version's own.
    """

    model: str
    version: int
    weight_bp: int
    arm: Arm
    pool: str
    upstream_path: bytes
    served_by: bytes
    deprecation: Deprecation | None = None


class Alias(msgspec.Struct, frozen=True):
    """A stable name as the data plane sees it.

    `bounds[i]` is the first bucket after slice i, and `owners[i]` the target of that slice, so a bucket's target is
    `owners[bisect_right(bounds, bucket)]`. `live` are the targets by version, the stable one first where two models
    share a number; `pinnable` are all registered versions of the stable target's model.
    """

    name: str
    team: str
    salt: bytes
    sticky: bool
    targets: tuple[Target, ...]
    bounds: tuple[int, ...]
    owners: tuple[Target, ...]
    live: dict[int, Target]
    pinnable: dict[int, Target]
    deprecation: Deprecation | None = None
    sampled: bool = False


class Permit(msgspec.Struct, frozen=True):
    """The right of one principal to do `action` on one alias, under one snapshot.

    It may name any registered version if it `may_pin`, and call as critical-plus if it `may_go_first`.
    """

    principal: Principal
    alias: Alias
    action: Action
    may_pin: bool
    may_go_first: bool = False


class Admission(msgspec.Struct, frozen=True):
    """The right to forward one request to one target until `deadline` (monotonic seconds)."""

    permit: Permit
    target: Target
    deadline: float


class Captured(msgspec.Struct, frozen=True):
    """One call that was chosen as a sample, as it was, from its end until it is masked: it is written and logged nowhere.

    `at` is when it came, Unix seconds. `request` and `reply` are the bodies' bytes; None, with the reason beside them,
    where they are not held. `request_headers` is the block that went upstream.
    """

    alias: str
    target: Target
    inclusion: float
    request_id: str
    principal: str
    routing_key: bytes | None
    protocol: str
    operation: OperationName
    outcome: str
    status: int
    at: float
    duration_s: float
    upstream_s: float
    request_bytes: int
    reply_bytes: int
    request_headers: bytes
    request: bytes | None
    request_missing: str | None
    reply_headers: tuple[Field, ...]
    reply: bytes | None
    reply_missing: str | None
