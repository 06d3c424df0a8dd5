"""Sampling as the API takes and shows it. Rates are in basis points."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from gateway.controlplane.fields import Reason
from gateway.snapshot.document import Detector, MaskAction, Part
from gateway.types import Arm


class RuleIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is done to one tensor, to the values at one JSON path, or to what one detector finds in kept text.

    `tensor` `*` means those without a rule of their own. `part` narrows a rule to requests or replies. An `optional` rule
    may name a tensor that some versions do not have.
    """

    action: MaskAction
    tensor: str | None = None
    path: str | None = None
    detector: Detector | None = None
    part: Part | None = None
    optional: bool = False


class PutSampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often requests of an alias are kept, and how they are masked.

    The rate is that of the arm with the largest weight; the others are sampled more often, so that each is expected to give
    as many samples. Without rules numbers are kept, and no text.
    """

    rate_bp: int
    rules: Annotated[list[RuleIn], msgspec.Meta(max_length=1000)] = []
    reason: Reason | None = None


class ArmView(msgspec.Struct, frozen=True):
    """A target of the alias, and the probability with which one of its requests is chosen."""

    model: str
    version: int
    arm: Arm
    inclusion: float


class WorkerProblem(msgspec.Struct, frozen=True):
    """Why a worker keeps no samples of the alias now, or cannot write them."""

    worker: str
    problem: str


class SamplingView(msgspec.Struct, frozen=True):
    """The sampling of an alias as it stands. Whether a request id is chosen follows from `salt`: see the guide."""

    alias: str
    team: str
    rate_bp: int
    salt: str
    rules: list[RuleIn]
    arms: list[ArmView]
    problems: list[WorkerProblem]
    revision: int
    updated_at: datetime
    updated_by: str
    reason: str | None


class SamplingList(msgspec.Struct, frozen=True):
    """The aliases that are sampled and that the caller may see, by name."""

    samplings: list[SamplingView]


class DeleteSubject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose samples are deleted: a principal (`app:NAME`) or a routing key, as callers send it. It is not kept or logged."""

    subject: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    reason: Reason | None = None


class DeletionView(msgspec.Struct, frozen=True):
    """A deletion. `subject` is the pseudonym that stands for it in samples.

    It is `done` once every worker knows of it and each host's store was gone through since; `waiting_for` names the workers
    that still keep it from that.
    """

    id: int
    subject: str
    at: datetime
    by: str
    reason: str | None
    state: Literal["waiting", "done"]
    waiting_for: list[str]


class DeletionList(msgspec.Struct, frozen=True):
    """The deletions, newest first."""

    deletions: list[DeletionView]
