"""What a worker and its control plane tell one another once a second: the worker's report, and the answer to it."""

from typing import Annotated, Literal

import msgspec

# `$` would let a line break at the end through.
Text = Annotated[str, msgspec.Meta(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*(?![\s\S])")]
Detail = Annotated[str, msgspec.Meta(max_length=1000, pattern=r"^[^\x00]*$")]
Name = Annotated[str, msgspec.Meta(max_length=160, pattern=r"^[A-Za-z0-9:._-]+(?![\s\S])")]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class EndpointReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An endpoint as one worker sees it; `since` is Unix seconds.

    `versions` are the model versions that are loaded, null where the server does not tell.
    """

    pool: Text
    url: Text
    ready: bool
    since: float | None = None
    versions: Annotated[list[tuple[Text, Count]], msgspec.Meta(max_length=10_000)] | None = None
    detail: Detail | None = None


MOST_USAGE_ROWS = 5_000
"""In one batch; what is left goes with the next."""


class UsageReport(msgspec.Struct, forbid_unknown_fields=True):
    """What one principal had of one version through one alias on one day since the last batch; the worker counts it up.

    Sizes are bytes, `last_at` Unix seconds. `limited` requests were refused by a quota, `gone` ones because what they
    called is retired or in a brownout; both are not among `requests`. `failed` ones ended in an error of the gateway or
    the model, `pinned` ones named the version. `inferences` are batch rows where a limit asked for them, else requests.
    """

    principal: Name
    alias: Name
    model: Name
    version: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    last_at: float
    requests: Count = 0
    failed: Count = 0
    limited: Count = 0
    gone: Count = 0
    pinned: Count = 0
    request_bytes: Count = 0
    reply_bytes: Count = 0
    inferences: Count = 0
    tokens: Count = 0


class UsageBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A worker numbers its batches from 1; one that it sends again has the same number and counts once."""

    number: Count
    rows: Annotated[list[UsageReport], msgspec.Meta(max_length=MOST_USAGE_ROWS)]


class SampleReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How sampling goes at one worker: what stands in its way by alias, and what is wrong with the store, if anything is.

    It knows of deletions up to number `deletions_seen`. The one worker of a host that looks after its store has carried
    them out up to number `deletions_done`; the others say null.
    """

    problems: Annotated[dict[Name, list[Detail]], msgspec.Meta(max_length=10_000)] = msgspec.field(
        default_factory=dict
    )
    sink: Detail | None = None
    deletions_seen: Count = 0
    deletions_done: Count | None = None


class ChangedFiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version whose files on a worker's host are not those that it is registered with, and why that is said."""

    model: Text
    version: Count
    why: Detail


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The state of one worker. `started_at` and the uses of keys are Unix seconds.

    `inference_url` is where it takes requests, null when it does not, or listens on all addresses of its host.
    `quota_workers` is among how many it shares each quota out, null where they count together in a store.
    """

    host: Text
    pid: Count
    role: Literal["all", "data", "control"]
    snapshot_version: Count
    started_at: float
    inference_url: Text | None = None
    endpoints: Annotated[list[EndpointReport], msgspec.Meta(max_length=1000)] = msgspec.field(
        default_factory=list
    )
    keys_used: Annotated[dict[str, float], msgspec.Meta(max_length=100_000)] = msgspec.field(
        default_factory=dict
    )
    usage: UsageBatch | None = None
    samples: SampleReport | None = None
    quota_workers: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    changed_files: Annotated[list[ChangedFiles], msgspec.Meta(max_length=1000)] = msgspec.field(
        default_factory=list
    )


class SampleDeletion(msgspec.Struct, frozen=True):
    """A subject, as a pseudonym, whose samples up to `at` (Unix seconds) are to go. Ids rise."""

    id: int
    subject: str
    at: float


class SharedVersion(msgspec.Struct, frozen=True):
    """A version that more than one principal called lately; the one before the last did `ago_s` seconds ago."""

    model: str
    version: int
    ago_s: float


class ReportAnswer(msgspec.Struct, frozen=True):
    """What a worker is told in answer to its report: deletions that it does not know of yet, some of them if they are many,
    and which versions have several callers, whom it may not all see.
    """

    sample_deletions: list[SampleDeletion] = []
    shared_versions: list[SharedVersion] = []
