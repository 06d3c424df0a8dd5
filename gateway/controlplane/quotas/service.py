"""The verbs on quota policies.

`read` and `admin` on `@quotas` see and change all of them. Who may `flip` an alias also sets policies that name that alias,
since they can only make less of it; what an administrator of all quotas has set stays theirs to change. Who may `read`
the alias, and the application that a policy names, sees it.
"""

import time
from collections.abc import Sequence

import msgspec
from sqlalchemy.orm import Session

from gateway.controlplane import owned
from gateway.controlplane.change import Change
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.edge.preconditions import Preconditions
from gateway.controlplane.quotas import store
from gateway.controlplane.quotas.counting import counting_problems
from gateway.controlplane.quotas.counts import with_counts
from gateway.controlplane.quotas.schemas import LimitView, PutQuota, QuotaList, QuotaView
from gateway.db.models import QuotaRow
from gateway.errors import GatewayError, Kind, unprocessable
from gateway.policy.rules import PLATFORM
from gateway.snapshot.document import LimitEntry, QuotaEntry
from gateway.snapshot.quotas import quota_problems
from gateway.types import Action

RESOURCE = "@quotas"


def list_quotas(session: Session, caller: Caller) -> QuotaList:
    """The policies that the caller may see."""
    rows, shares = store.quotas(session), store.shares(session)
    return QuotaList(
        [_view(session, row, shares) for row in rows if _may_see(session, caller, store.entry_of(row))]
    )


def show_quota(session: Session, caller: Caller, name: str) -> QuotaView:
    """One policy. Raises NOT_FOUND, in the same words for one that the caller may not see."""
    return _view(session, _seen(session, caller, name), store.shares(session))


def put_quota(
    change: Change, caller: Caller, name: str, body: PutQuota, preconditions: Preconditions
) -> tuple[QuotaView, bool]:
    """Make a policy or replace it whole; and whether it is new. The same again changes nothing."""
    session = change.session
    row = store.quota(session, name)
    entry = _entry(name, body, () if row is None else store.entry_of(row).limits)
    if not _may_set(session, caller, entry):
        caller.refuse("admin", RESOURCE, PLATFORM)
    if row is not None and not _may_change(session, caller, row):
        _refuse(session, caller, row)
    problems = quota_problems(entry)
    if entry.hard and entry.shadow:
        # Said here and not there: a snapshot that holds one is served all the same.
        problems.append(f"quota {name}: a shadow policy refuses nothing, so it cannot be hard")
    if problems:
        raise unprocessable("The quota policy cannot be used", problems)
    same = row is not None and store.entry_of(row) == entry
    preconditions.check(row.revision if row else None, f"Quota {name}", required=not same)
    if row is not None and same:
        return _view(session, row, store.shares(session)), False
    created = row is None
    platform = caller.may("admin", RESOURCE, PLATFORM)
    written = _write(change, row, entry, platform=platform, reason=body.reason)
    return _view(session, written, store.shares(session)), created


def delete_quota(
    change: Change, caller: Caller, name: str, preconditions: Preconditions, reason: str | None
) -> None:
    """Delete a policy: what it limited is limited by it no more. Raises NOT_FOUND."""
    row = _seen(change.session, caller, name)
    if not _may_change(change.session, caller, row):
        _refuse(change.session, caller, row)
    preconditions.check(row.revision, f"Quota {name}", required=False)
    change.session.delete(row)
    change.record("quota.delete", f"quota:{name}", row.entry, None, reason)


def _entry(name: str, body: PutQuota, standing: tuple[LimitEntry, ...]) -> QuotaEntry:
    """The policy as it is to be."""
    return QuotaEntry(
        name,
        with_counts(body.limits, standing, time.time_ns() // 1_000_000),
        team=body.team,
        application=body.application,
        alias=body.alias,
        model=body.model,
        shadow=body.shadow,
        hard=body.hard,
    )


def _may_see(session: Session, caller: Caller, entry: QuotaEntry) -> bool:
    if caller.may("admin", RESOURCE, PLATFORM) or caller.may("read", RESOURCE, PLATFORM):
        return True
    return entry.application == caller.principal or _may_on_alias(session, caller, "read", entry)


def _may_set(session: Session, caller: Caller, entry: QuotaEntry) -> bool:
    return caller.may("admin", RESOURCE, PLATFORM) or _may_on_alias(session, caller, "flip", entry)


def _may_change(session: Session, caller: Caller, row: QuotaRow) -> bool:
    if row.platform:
        return caller.may("admin", RESOURCE, PLATFORM)
    return _may_set(session, caller, store.entry_of(row))


def _may_on_alias(session: Session, caller: Caller, action: Action, entry: QuotaEntry) -> bool:
    """Whether the policy names one alias, to which the caller may do that."""
    if entry.alias in (None, "*"):
        return False
    alias = owned.alias(session, entry.alias or "")
    return alias is not None and caller.may(action, alias.name, alias.team)


def _seen(session: Session, caller: Caller, name: str) -> QuotaRow:
    row = store.quota(session, name)
    if row is None or not _may_see(session, caller, store.entry_of(row)):
        raise GatewayError(Kind.NOT_FOUND, f"There is no quota {name!r}, or you may not see it.")
    return row


def _refuse(session: Session, caller: Caller, row: QuotaRow) -> None:
    """A policy of others may not even be known to exist; its name is taken all the same."""
    if _may_see(session, caller, store.entry_of(row)):
        caller.refuse("admin", RESOURCE, PLATFORM)
    raise GatewayError(
        Kind.CONFLICT, f"The name {row.name} is taken by a policy that is not yours to change."
    )


def _write(
    change: Change, row: QuotaRow | None, entry: QuotaEntry, *, platform: bool, reason: str | None
) -> QuotaRow:
    before = None if row is None else row.entry
    if row is None:
        row = QuotaRow(name=entry.name, revision=0)
        change.session.add(row)
    plain = msgspec.to_builtins(entry)
    del plain["name"]
    row.entry, row.platform, row.reason = plain, platform, reason
    change.revise(row)
    change.record("quota.set", f"quota:{entry.name}", before, plain, reason)
    return row


def _view(session: Session, row: QuotaRow, shares: Sequence[int]) -> QuotaView:
    entry = store.entry_of(row)
    return QuotaView(
        name=row.name,
        team=entry.team,
        application=entry.application,
        alias=entry.alias,
        model=entry.model,
        limits=[
            LimitView(
                each.name, each.unit, each.quota, each.window_s, each.burst or each.quota, each.estimate
            )
            for each in entry.limits
        ],
        shadow=entry.shadow,
        hard=entry.hard,
        platform=row.platform,
        unknown=store.unknown_selectors(session, entry),
        problems=counting_problems(shares, hard=entry.hard),
        revision=row.revision,
        updated_at=row.updated_at,
        updated_by=row.updated_by,
        reason=row.reason,
    )
