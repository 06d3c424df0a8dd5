"""The verbs on adapters. Who may `flip` an alias says how it is called; who may `read` it sees that."""

import msgspec
from sqlalchemy.orm import Session

from gateway.controlplane import owned
from gateway.controlplane.adapters import store
from gateway.controlplane.adapters.schemas import AdapterView, PutAdapter
from gateway.controlplane.change import Change
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.edge.preconditions import Preconditions
from gateway.db.models import AdapterRow
from gateway.errors import GatewayError, Kind, unprocessable
from gateway.snapshot.adapters import Adapter, GenerateAdapter, adapter_problems
from gateway.templates import template_problem


def show_adapter(session: Session, caller: Caller, alias: str) -> AdapterView:
    """The adapter of an alias. Raises NOT_FOUND where it has none."""
    team = owned.seen_alias(session, caller, alias).team
    return _view(_adapted(session, alias), team)


def demand_change(session: Session, caller: Caller, alias: str) -> str:
    """The team of an alias whose adapter the caller may change. Raises NOT_FOUND or FORBIDDEN."""
    team = owned.seen_alias(session, caller, alias).team
    owned.demand_flip(caller, alias, team)
    return team


def check_adapter(adapter: Adapter) -> None:
    """Raises UNPROCESSABLE with every fault. A chat template is rendered for it, which may take a moment."""
    problems = adapter_problems("adapter", adapter)
    if isinstance(adapter, GenerateAdapter):
        problem = template_problem(adapter.template)
        problems += [] if problem is None else [f"adapter: template: {problem}"]
    if problems:
        raise unprocessable("The alias cannot be called like this", problems)


def put_adapter(
    change: Change, caller: Caller, alias: str, body: PutAdapter, preconditions: Preconditions
) -> tuple[AdapterView, bool]:
    """Set an adapter that was checked; and whether the alias had none. The same again changes nothing."""
    session = change.session
    team = demand_change(session, caller, alias)
    row = store.adapter(session, alias)
    same = row is not None and store.entry_of(row) == body.adapter
    preconditions.check(row.revision if row else None, f"The adapter of alias {alias}", required=not same)
    created = row is None
    if row is None:
        row = AdapterRow(alias=alias, revision=0)
        session.add(row)
    if not same:
        before, row.entry = row.entry, msgspec.to_builtins(body.adapter)
        row.reason = body.reason
        change.revise(row)
        change.record("adapter.set", f"alias:{alias}", before, row.entry, body.reason)
    return _view(row, team), created


def remove_adapter(
    change: Change, caller: Caller, alias: str, preconditions: Preconditions, reason: str | None
) -> None:
    """Have an alias be called by way of the OpenAI API no more. Raises NOT_FOUND where it is not."""
    demand_change(change.session, caller, alias)
    row = _adapted(change.session, alias)
    preconditions.check(row.revision, f"The adapter of alias {alias}", required=False)
    change.session.delete(row)
    change.record("adapter.remove", f"alias:{alias}", row.entry, None, reason)


def _adapted(session: Session, alias: str) -> AdapterRow:
    row = store.adapter(session, alias)
    if row is None:
        raise GatewayError(Kind.NOT_FOUND, f"Alias {alias} has no adapter.")
    return row


def _view(row: AdapterRow, team: str) -> AdapterView:
    return AdapterView(
        row.alias, team, store.entry_of(row), row.revision, row.updated_at, row.updated_by, row.reason
    )
