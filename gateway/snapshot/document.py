"""The snapshot as it travels: plain data, written by the control plane, kept on disk, decoded by every worker.

On the wire and on disk a snapshot is one line with the SHA-256 of the rest, then the JSON document.
"""

from typing import Literal

import msgspec

from gateway.kept_file import seal, unseal
from gateway.snapshot.adapters import Adapter

FORMAT = 1


class SnapshotInvalid(Exception):
    """A snapshot that must not activate; `problems` has one line for each fault."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(
            "; ".join(problems[:5]) + (f" … and {len(problems) - 5} more" if len(problems) > 5 else "")
        )
        self.problems = problems


class TargetEntry(msgspec.Struct, frozen=True):
    """One target; the first of an alias is its stable one."""

    model: str
    version: int
    weight_bp: int


class Slice(msgspec.Struct, frozen=True, array_like=True):
    """Buckets `start` up to, not including, `end` belong to target number `target` of the alias."""

    start: int
    end: int
    target: int


class DeprecationEntry(msgspec.Struct, frozen=True):
    """The announced end of an alias or of a version. Moments in Unix seconds; `brownouts` are [start, end).

    `successor` is an alias; `info_url` tells people more. After the sunset the alias is `gone`, or goes on to `serve`.
    """

    deprecated_at: float
    sunset_at: float | None = None
    successor: str | None = None
    info_url: str | None = None
    after_sunset: Literal["serve", "gone"] = "serve"
    brownouts: tuple[tuple[float, float], ...] = ()


MaskAction = Literal["keep", "drop", "hash", "redact"]
Detector = Literal["email", "phone", "card", "iban", "ip", "national_id"]
Part = Literal["request", "reply"]


class MaskRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is done to one tensor (`tensor`; `*`: to those without a rule), to the values at one JSON path (`path`), or to
    what one detector finds in kept text (`detector`), before a sample is kept.

    `part` narrows a rule to requests or replies. An `optional` rule may name a tensor that some versions do not have.
    """

    action: MaskAction
    tensor: str | None = None
    path: str | None = None
    detector: Detector | None = None
    part: Part | None = None
    optional: bool = False


class SamplingEntry(msgspec.Struct, frozen=True):
    """How many of an alias's requests are kept, in basis points, and how they are masked.

    `salt` is hexadecimal, 16 bytes: with it anyone can tell whether a request id is chosen. It stays for as long as the
    alias is sampled, so that a higher rate keeps all that a lower one keeps.
    """

    rate_bp: int
    salt: str
    rules: tuple[MaskRule, ...] = ()


class AliasEntry(msgspec.Struct, frozen=True):
    """An alias. `salt` is hexadecimal, 16 bytes, new with each release."""

    name: str
    team: str
    salt: str
    targets: tuple[TargetEntry, ...]
    slices: tuple[Slice, ...]
    sticky: bool = True
    deprecation: DeprecationEntry | None = None
    sampling: SamplingEntry | None = None
    adapter: Adapter | None = None


class VersionDeprecation(msgspec.Struct, frozen=True):
    """The announced end of one version; told to those who pin it."""

    version: int
    deprecation: DeprecationEntry


class ModelEntry(msgspec.Struct, frozen=True):
    """A model, the pool that serves it, its registered versions and which of them are deprecated.

    `digests` are those of the versions, in the same order, or none.
    """

    name: str
    team: str
    pool: str
    versions: tuple[int, ...]
    deprecations: tuple[VersionDeprecation, ...] = ()
    digests: tuple[str, ...] = ()

    def digest_of(self) -> dict[tuple[str, int], str]:
        """The digest of each version that has one, by model and version."""
        return {
            (self.name, number): digest for number, digest in zip(self.versions, self.digests, strict=False)
        }


class PoolEntry(msgspec.Struct, frozen=True):
    """A pool; the embedded engine has no endpoints. `grpc_endpoints` are as many as the endpoints, or none."""

    name: str
    engine: Literal["triton", "embedded"]
    endpoints: tuple[str, ...] = ()
    grpc_endpoints: tuple[str, ...] = ()


class KeyEntry(msgspec.Struct, frozen=True, array_like=True):
    """A key that is neither revoked nor expired when the snapshot is written. `digest` is hexadecimal, 16 bytes."""

    id: str
    digest: str
    principal: str
    expires_at: float | None = None


class PolicyEntry(msgspec.Struct, frozen=True):
    """Casbin rows without their leading `p` and `g`: subject, domain, object, action, effect; subject, role, domain."""

    grants: tuple[tuple[str, str, str, str, str], ...] = ()
    roles: tuple[tuple[str, str, str], ...] = ()


Unit = Literal["requests", "content-bytes", "inferences", "tokens", "concurrent-requests"]
"""What a limit counts. `inferences` are batch rows; `content-bytes` those of the request's body."""


class LimitEntry(msgspec.Struct, frozen=True):
    """`quota` units in `window_s` seconds, `burst` of them at once (0: the whole quota).

    Of concurrent-requests `quota` at a time, with no window. Of units that are known only afterwards, `estimate` is
    reserved and then put right. `began` tells it from one of the same name that was deleted, or had another unit: it is
    when this one was set first, in milliseconds of Unix time. `counts_as` is the name that it had then, where that was another:
    what was used stays used when a limit gets another window and name.
    """

    name: str
    unit: Unit
    quota: int
    window_s: int = 0
    burst: int = 0
    estimate: int = 1
    began: int = 0
    counts_as: str = ""


class QuotaEntry(msgspec.Struct, frozen=True):
    """A quota policy: what it applies to, and its limits, which are taken together or not at all.

    Each of `team` (the alias's owner), `application` (the principal, as `app:NAME`), `alias` and `model` is a name (only that one),
    `*` (every one, each with a count of its own) or None (whichever, in one count). A `shadow` policy counts and
    refuses nothing; a `hard` one refuses while its count cannot be kept across workers.
    """

    name: str
    limits: tuple[LimitEntry, ...]
    team: str | None = None
    application: str | None = None
    alias: str | None = None
    model: str | None = None
    shadow: bool = False
    hard: bool = False


class SnapshotDocument(msgspec.Struct, frozen=True):
    """Everything that the data plane serves from. `version` rises with every change; `created_at` in Unix seconds.

    `installation` names the database that it was built from, so that an empty one put in its place is noticed.
    """

    version: int
    created_at: float
    installation: str
    aliases: tuple[AliasEntry, ...] = ()
    models: tuple[ModelEntry, ...] = ()
    pools: tuple[PoolEntry, ...] = ()
    keys: tuple[KeyEntry, ...] = ()
    policy: PolicyEntry = PolicyEntry()
    quotas: tuple[QuotaEntry, ...] = ()
    format: int = FORMAT


def encode(document: SnapshotDocument) -> bytes:
    """The document with its checksum line."""
    return seal(msgspec.json.encode(document))


def decode(data: bytes) -> SnapshotDocument:
    """The document, once checksum and types hold. Raises `SnapshotInvalid`."""
    body = unseal(data)
    if body is None:
        raise SnapshotInvalid(["the checksum does not match: the snapshot is damaged or was cut short"])
    try:
        document = msgspec.json.decode(body, type=SnapshotDocument)
    except (msgspec.DecodeError, RecursionError) as error:
        raise SnapshotInvalid([f"the document does not decode: {error}"]) from error
    if document.format != FORMAT:
        raise SnapshotInvalid([f"format {document.format} is not format {FORMAT}, which this gateway reads"])
    return document
