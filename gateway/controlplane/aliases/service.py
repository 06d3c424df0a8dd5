"""The verbs on aliases. Seeing one takes `read` (or `flip`) in its team's domain, changing it takes `flip` there.

What an alias sends traffic to changes only here, through `_write`: so every change has a revision and an audit row.
"""

import os
from collections.abc import Mapping

import msgspec

from gateway.controlplane import owned
from gateway.controlplane.adapters import store as adapters
from gateway.controlplane.aliases import store
from gateway.controlplane.aliases.checks import check_alias
from gateway.controlplane.aliases.schemas import Kind as ChangeKind
from gateway.controlplane.aliases.schemas import PutAlias, RollbackAlias
from gateway.controlplane.change import Change
from gateway.controlplane.deprecations.retirement import retire
from gateway.controlplane.deprecations.subject import AliasSubject
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.edge.preconditions import Preconditions
from gateway.controlplane.samples import store as samples
from gateway.db.models import AliasRow, RevisionRow
from gateway.errors import GatewayError, Kind
from gateway.snapshot.document import AliasEntry, TargetEntry
from gateway.snapshot.split import fresh_slices, moved_slices, same_release
from gateway.types import NAME


def put_alias(
    change: Change, caller: Caller, name: str, body: PutAlias, preconditions: Preconditions
) -> tuple[AliasRow, bool]:
    """Create an alias or set its targets; and whether it is new. The same targets again change nothing."""
    if body.team is not None and not NAME.fullmatch(body.team):
        raise GatewayError(
            Kind.UNPROCESSABLE,
            f"{body.team!r} is no name of a team.",
            problems=(f"team: {body.team!r} is not a name of 1 to 128 letters, digits, '.', '_', '-'",),
        )
    row = owned.alias(change.session, name)
    if row is not None and not owned.may_see_alias(caller, name, row.team):
        row = None
    team = _team(row, body)
    owned.demand_flip(caller, name, team)
    if row is None and owned.alias(change.session, name) is not None:
        raise GatewayError(Kind.CONFLICT, f"The name {name} is taken by an alias of another team.")
    targets = tuple(TargetEntry(each.model, each.version, each.weight) for each in body.targets)
    check_alias(change.session, caller, name, team, targets)
    preconditions.check(row.revision if row else None, f"Alias {name}")
    sticky = body.sticky if body.sticky is not None else (row.sticky if row else True)
    if row is not None and (store.entries(row), row.sticky) == (targets, sticky):
        return row, False
    entry = _next_entry(row, name, team, targets, sticky)
    return _write(change, row, entry, "create" if row is None else "set", body.reason), row is None


def rollback_alias(
    change: Change, caller: Caller, name: str, body: RollbackAlias, preconditions: Preconditions
) -> AliasRow:
    """Restore an earlier revision with its salt and slices, so that every caller is back where it was.

    A deleted alias comes back this way too. Raises UNPROCESSABLE for a revision that is not there to restore,
    CONFLICT when its versions are no longer registered.
    """
    row = owned.alias(change.session, name)
    newest = store.newest_change(change.session, name)
    if newest is None or not owned.may_see_alias(caller, name, row.team if row else newest.team):
        raise owned.unknown_alias(name)
    team = row.team if row else newest.team
    owned.demand_flip(caller, name, team)
    number = newest.revision - 1 if body.to_revision is None else body.to_revision
    wanted = store.revision(change.session, name, team, number)
    if wanted is None or wanted.after is None:
        known = [str(each.revision) for each in store.revisions(change.session, name, team, 20) if each.after]
        raise GatewayError(
            Kind.UNPROCESSABLE,
            f"Alias {name} has no revision {number} to go back to; there are: {', '.join(known) or 'none'}.",
            problems=(f"to_revision: {number} cannot be restored",),
        )
    preconditions.check(row.revision if row else None, f"Alias {name}", required=False)
    targets = msgspec.convert(wanted.after, tuple[TargetEntry, ...])
    try:
        check_alias(change.session, caller, name, team, targets, trusted=True)
    except GatewayError as error:
        raise GatewayError(
            Kind.CONFLICT, f"Revision {number} cannot be restored: {error.detail}", problems=error.problems
        ) from error
    entry = AliasEntry(name, team, wanted.salt, targets, store.slices(wanted.slices), wanted.sticky)
    if row is not None and _entry(row) == entry:
        return row
    return _write(change, row, entry, "rollback", body.reason)


def delete_alias(
    change: Change,
    caller: Caller,
    name: str,
    preconditions: Preconditions,
    reason: str | None,
    *,
    force: bool = False,
) -> None:
    """Delete an alias, how it is sampled, and its adapter; its history stays. Raises CONFLICT while it is called, unless forced."""
    row = owned.seen_alias(change.session, caller, name)
    owned.demand_flip(caller, name, row.team)
    preconditions.check(row.revision, f"Alias {name}")
    told = retire(change, AliasSubject(name), force=force, reason=reason)
    before = _entry(row)
    samples.forget(change.session, name)
    adapters.forget(change.session, name)
    change.session.delete(row)
    change.session.flush()
    _remember(change, before, None, row.revision + 1, "delete", reason, told)


def _team(row: AliasRow | None, body: PutAlias) -> str:
    if row is None:
        if body.team is None:
            raise GatewayError(
                Kind.UNPROCESSABLE,
                "A new alias needs its team (or the alias exists and you may not see it).",
                problems=("team: required for a new alias",),
            )
        return body.team
    if body.team not in (None, row.team):
        raise GatewayError(
            Kind.UNPROCESSABLE,
            f"Alias {row.name} belongs to team {row.team} and stays there; make a new alias for another team.",
            problems=(f"team: is {row.team} and cannot be changed",),
        )
    return row.team


def _next_entry(
    row: AliasRow | None, name: str, team: str, targets: tuple[TargetEntry, ...], sticky: bool
) -> AliasEntry:
    """Within a release the salt stays and as few buckets as possible move; a new release deals anew."""
    if row is not None and same_release(store.entries(row), targets):
        slices = moved_slices(store.entries(row), store.slices(row.slices), targets)
        return AliasEntry(name, team, row.salt, targets, slices, sticky)
    return AliasEntry(name, team, os.urandom(16).hex(), targets, fresh_slices(targets), sticky)


def _write(
    change: Change, row: AliasRow | None, entry: AliasEntry, kind: ChangeKind, reason: str | None
) -> AliasRow:
    before = _entry(row) if row is not None else None
    revision = store.last_revision(change.session, entry.name) + 1
    if row is None:
        row = AliasRow(name=entry.name, targets=[])
    row.team, row.sticky, row.salt = entry.team, entry.sticky, entry.salt
    row.slices = store.plain_slices(entry.slices)
    row.revision, row.reason = revision, reason
    row.updated_at, row.updated_by = change.at, change.actor
    change.session.add(row)
    store.replace_targets(change.session, row, entry.targets)
    _remember(change, before, entry, revision, kind, reason)
    return row


def _remember(
    change: Change,
    before: AliasEntry | None,
    after: AliasEntry | None,
    revision: int,
    kind: ChangeKind,
    reason: str | None,
    told: Mapping[str, object] | None = None,
) -> None:
    """The revision, and the audit row; `told` is what the audit says of the alias besides."""
    shown = after or before
    assert shown is not None
    change.session.add(
        RevisionRow(
            alias=shown.name,
            revision=revision,
            at=change.at,
            by=change.actor,
            reason=reason,
            kind=kind,
            team=shown.team,
            before=msgspec.to_builtins(before.targets) if before else None,
            after=msgspec.to_builtins(after.targets) if after else None,
            sticky=shown.sticky,
            salt=shown.salt,
            slices=store.plain_slices(shown.slices),
        )
    )
    was = _plain(before)
    if was is not None:
        was |= told or {}
    change.record(f"alias.{kind}", f"alias:{shown.name}", was, _plain(after), reason)


def _entry(row: AliasRow) -> AliasEntry:
    return AliasEntry(row.name, row.team, row.salt, store.entries(row), store.slices(row.slices), row.sticky)


def _plain(entry: AliasEntry | None) -> dict[str, object] | None:
    return None if entry is None else dict(msgspec.to_builtins(entry))
