"""Builds the snapshot document from one consistent read of the database.

The document depends on the rows alone (and on which keys have expired), so every replica builds the same one.
"""

from datetime import UTC, datetime

import msgspec
from sqlalchemy.orm import Session

from gateway.controlplane.access import store as access
from gateway.controlplane.adapters import store as adapters
from gateway.controlplane.aliases import store as aliases
from gateway.controlplane.deprecations import store as deprecations
from gateway.controlplane.quotas import store as quotas
from gateway.controlplane.registry import store as registry
from gateway.controlplane.samples import store as samples
from gateway.db.models import StateRow
from gateway.policy.rules import PolicyRules
from gateway.snapshot.document import (
    AliasEntry,
    DeprecationEntry,
    KeyEntry,
    ModelEntry,
    PolicyEntry,
    SnapshotDocument,
    SnapshotInvalid,
    VersionDeprecation,
)


def current_version(session: Session) -> int:
    """The version of what the database holds."""
    return session.get_one(StateRow, 1).version


def build_document(session: Session) -> SnapshotDocument:
    """The document. Raises `SnapshotInvalid` for rows that have not even the types of one."""
    state = session.get_one(StateRow, 1)
    try:
        ending = deprecations.all_entries(session)
        document = SnapshotDocument(
            version=state.version,
            created_at=state.changed_at.timestamp(),
            installation=state.installation,
            aliases=_aliases(session, ending),
            models=tuple(_model(registry.model_entry(row), ending) for row in registry.models(session)),
            pools=tuple(registry.pool_entry(row) for row in registry.pools(session)),
            keys=tuple(
                KeyEntry(key_id, digest, principal, expires_at.timestamp() if expires_at else None)
                for key_id, digest, principal, expires_at in access.usable_keys(session, datetime.now(UTC))
            ),
            policy=_policy(access.rules(session)),
            quotas=tuple(quotas.all_entries(session)),
        )
        # A JSON column holds whatever was written into it; the round trip gives every field its type, or says no.
        return msgspec.convert(msgspec.to_builtins(document), SnapshotDocument)
    except (ValueError, TypeError, LookupError) as error:
        raise SnapshotInvalid([f"the database holds rows that cannot be read: {error}"]) from error


def _aliases(session: Session, ending: dict[str, DeprecationEntry]) -> tuple[AliasEntry, ...]:
    sampling = samples.all_entries(session)
    adapted = adapters.all_entries(session)
    return tuple(
        msgspec.structs.replace(
            entry,
            deprecation=ending.get(deprecations.alias_subject(entry.name)),
            sampling=sampling.get(entry.name),
            adapter=adapted.get(entry.name),
        )
        for entry in aliases.all_entries(session)
    )


def _model(entry: ModelEntry, ending: dict[str, DeprecationEntry]) -> ModelEntry:
    found = tuple(
        VersionDeprecation(version, announced)
        for version in entry.versions
        if (announced := ending.get(deprecations.version_subject(entry.name, version))) is not None
    )
    return msgspec.structs.replace(entry, deprecations=found) if found else entry


def _policy(rules: PolicyRules) -> PolicyEntry:
    return PolicyEntry(
        tuple((row.subject, row.domain, row.object, row.action, row.effect) for row in rules.grants),
        tuple((row.subject, row.role, row.domain) for row in rules.roles),
    )
