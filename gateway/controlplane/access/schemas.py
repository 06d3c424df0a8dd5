"""Keys and policy as the API takes and shows them."""

from datetime import datetime
from typing import Annotated

import msgspec

from gateway.controlplane.fields import Note, Reason
from gateway.types import Action

GrantFields = tuple[str, str, str, str, str]
"""subject, domain, object, action, effect"""

RoleFields = tuple[str, str, str]
"""subject, role, domain"""

CaseFields = tuple[str, str, str, str, str]
"""subject, domain, object, action, expected (`allow` or `deny`)"""

Moment = Annotated[datetime, msgspec.Meta(tz=True, description="RFC 3339, with its offset from UTC.")]


class CreateKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key for `app:NAME` or `user:NAME`; without `expires_at` it lives until it is revoked."""

    principal: str
    expires_at: Moment | None = None
    note: Note | None = None


class KeyView(msgspec.Struct, frozen=True):
    """A key without its secret."""

    id: str
    principal: str
    prefix: str
    note: str | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None


class CreatedKey(KeyView, frozen=True):
    """A fresh key; `key` is its text, shown this once."""

    key: str = ""


class KeyList(msgspec.Struct, frozen=True):
    """Keys, newest first."""

    keys: list[KeyView]


class PolicyView(msgspec.Struct, frozen=True):
    """All rows of the policy, in their order."""

    grants: list[GrantFields]
    roles: list[RoleFields]
    revision: int
    updated_at: datetime | None
    updated_by: str | None


class PutPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All rows that the policy shall have."""

    grants: list[GrantFields]
    roles: list[RoleFields]
    reason: Reason | None = None


class Rows(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows to add or remove."""

    grants: list[GrantFields] = msgspec.field(default_factory=list)
    roles: list[RoleFields] = msgspec.field(default_factory=list)


class ChangePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Adds and removes rows, all or none."""

    add: Rows = msgspec.field(default_factory=Rows)
    remove: Rows = msgspec.field(default_factory=Rows)
    reason: Reason | None = None


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """May `subject` do `action` to an alias, or to `object` in `domain`?"""

    subject: str
    action: Action
    alias: str | None = None
    domain: str | None = None
    object: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """The decision, by the snapshot that is served now."""

    allowed: bool


class DecidingRow(msgspec.Struct, frozen=True):
    """A row that speaks of the question: its number, and the names from the subject to whom it speaks of."""

    row: int
    grant: GrantFields
    path: list[str]


class Explained(msgspec.Struct, frozen=True):
    """The decision with its grounds; `text` says it in words."""

    allowed: bool
    text: str
    grants: list[DecidingRow]
    overruled: list[DecidingRow]
    roles: list[str]


class TestPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Decisions that must hold."""

    cases: list[CaseFields]


class FailedCase(msgspec.Struct, frozen=True):
    """A case that does not hold; `row` counts from 1."""

    row: int
    case: CaseFields
    got: str
    explanation: str


class TestResult(msgspec.Struct, frozen=True):
    """How many cases were tried, and those that do not hold."""

    cases: int
    failures: list[FailedCase]


class Whoami(msgspec.Struct, frozen=True):
    """Who the caller is: teams, roles, and the actions it may do to the control plane's own resources.

    `roles` are by team, inherited ones and those for every team too, and under `platform` those over the control
    plane. Of a caller by token `issuer` names its declared issuer, and `key_id` is null; its teams and roles are those that the
    token gives, too. `inference_url` is where a worker that lives takes requests, null where none is known.
    """

    principal: str
    key_id: str | None
    issuer: str | None
    teams: list[str]
    roles: dict[str, list[str]]
    resources: dict[str, list[str]]
    snapshot_version: int
    inference_url: str | None
