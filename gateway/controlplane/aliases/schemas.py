"""Aliases as the API takes and shows them. Weights are integers in basis points."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from gateway.controlplane.fields import MOST_TARGETS, Reason
from gateway.types import Arm

Kind = Literal["create", "set", "rollback", "delete"]


class TargetIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model version and its weight."""

    model: str
    version: int
    weight: int


class PutAlias(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an alias sends traffic to; the first target is the stable one. `team` is required for a new alias.

    A sticky alias (the default) keeps a routing key on its arm; one that is not draws anew for each request.
    """

    targets: Annotated[list[TargetIn], msgspec.Meta(max_length=MOST_TARGETS)]
    team: str | None = None
    sticky: bool | None = None
    reason: Reason | None = None


class RollbackAlias(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which revision to restore: by default the one before the newest."""

    to_revision: int | None = None
    reason: Reason | None = None


class TargetView(msgspec.Struct, frozen=True):
    """A target of an alias."""

    model: str
    version: int
    weight: int
    arm: Arm


class AnnouncedEnd(msgspec.Struct, frozen=True):
    """When an alias retires and what takes its place; all of it is at `…/deprecation`, with an ETag of its own."""

    deprecated_at: datetime
    sunset_at: datetime | None
    successor: str | None


class AliasView(msgspec.Struct, frozen=True):
    """An alias as it stands. `deprecation` is null where no end is announced."""

    name: str
    team: str
    sticky: bool
    targets: list[TargetView]
    salt: str
    revision: int
    updated_at: datetime
    updated_by: str
    reason: str | None
    deprecation: AnnouncedEnd | None


class AliasList(msgspec.Struct, frozen=True):
    """The aliases that the caller may see, by name."""

    aliases: list[AliasView]


class RevisionView(msgspec.Struct, frozen=True, rename={"before": "from", "after": "to"}):
    """One change of an alias: from which targets (null: there was no alias) to which (null: deleted), and why."""

    revision: int
    at: datetime
    by: str
    reason: str | None
    kind: Kind
    before: list[TargetView] | None
    after: list[TargetView] | None


class History(msgspec.Struct, frozen=True):
    """The changes of an alias, newest first."""

    revisions: list[RevisionView]
