"""The verbs on pools: `read` and `admin` on `@pools`. Those that the settings declare are changed only there."""

from collections.abc import Mapping

from sqlalchemy.orm import Session

from gateway.controlplane.change import Change
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.edge.preconditions import Preconditions
from gateway.controlplane.registry import store
from gateway.controlplane.registry.schemas import PoolList, PoolView, PutPool
from gateway.db.models import PoolRow
from gateway.errors import GatewayError, Kind, unprocessable
from gateway.settings import PoolSettings
from gateway.snapshot.document import PoolEntry
from gateway.snapshot.problems import pool_problems
from gateway.types import NAME


def list_pools(session: Session, caller: Caller) -> PoolList:
    """All pools."""
    caller.demand("read", "@pools")
    return PoolList([_view(row) for row in store.pools(session)])


def show_pool(session: Session, caller: Caller, name: str) -> PoolView:
    """One pool. Raises NOT_FOUND."""
    caller.demand("read", "@pools")
    return _view(_existing(session, name))


def put_pool(
    change: Change, caller: Caller, name: str, body: PutPool, preconditions: Preconditions
) -> tuple[PoolView, bool]:
    """Make a pool or replace what it consists of; and whether it is new."""
    caller.demand("admin", "@pools")
    row = change.session.get(PoolRow, name) if NAME.fullmatch(name) else None
    _not_declared(row)
    entry = PoolEntry(name, body.engine, tuple(body.endpoints), tuple(body.grpc_endpoints))
    problems = pool_problems(entry)
    if problems:
        raise unprocessable("The pool cannot be used", problems)
    same = row is not None and store.pool_entry(row) == entry
    preconditions.check(row.revision if row else None, f"Pool {name}", required=not same)
    if row is not None and same:
        return _view(row), False
    return _view(_write(change, row, entry, declared=False, reason=body.reason)), row is None


def delete_pool(
    change: Change, caller: Caller, name: str, preconditions: Preconditions, reason: str | None
) -> None:
    """Delete a pool that serves no model. Raises CONFLICT naming the models that it serves, NOT_FOUND."""
    caller.demand("admin", "@pools")
    row = _existing(change.session, name)
    _not_declared(row)
    models = store.models_in_pool(change.session, name)
    if models:
        raise GatewayError(
            Kind.CONFLICT,
            f"Pool {name} serves {', '.join(models)}; move them to another pool first.",
        )
    preconditions.check(row.revision, f"Pool {name}", required=False)
    change.session.delete(row)
    change.record("pool.delete", f"pool:{name}", _plain(row), None, reason)


def declare_pools(change: Change, declared: Mapping[str, PoolSettings]) -> None:
    """Bring the pools of the settings into the database, and free those that no longer stand there."""
    for row in store.pools(change.session):
        if row.declared and row.name not in declared:
            before = _plain(row)
            row.declared = False
            change.record(
                "pool.undeclare", f"pool:{row.name}", before, _plain(row), "no longer in the settings file"
            )
    for name, pool in declared.items():
        entry = PoolEntry(name, pool.engine, pool.endpoints, pool.grpc_endpoints)
        known = change.session.get(PoolRow, name)
        if known is None or store.pool_entry(known) != entry or not known.declared:
            _write(change, known, entry, declared=True, reason="declared in the settings file")


def _write(
    change: Change, row: PoolRow | None, entry: PoolEntry, *, declared: bool, reason: str | None
) -> PoolRow:
    before = _plain(row)
    if row is None:
        row = PoolRow(name=entry.name, revision=0)
        change.session.add(row)
    row.engine, row.declared = entry.engine, declared
    row.endpoints, row.grpc_endpoints = list(entry.endpoints), list(entry.grpc_endpoints)
    change.revise(row)
    change.record("pool.set", f"pool:{entry.name}", before, _plain(row), reason)
    return row


def _existing(session: Session, name: str) -> PoolRow:
    row = session.get(PoolRow, name) if NAME.fullmatch(name) else None
    if row is None:
        raise GatewayError(Kind.NOT_FOUND, f"There is no pool {name!r}.")
    return row


def _not_declared(row: PoolRow | None) -> None:
    if row is not None and row.declared:
        raise GatewayError(
            Kind.CONFLICT, f"Pool {row.name} is declared in the settings file; change it there."
        )


def _plain(row: PoolRow | None) -> dict[str, object] | None:
    if row is None:
        return None
    return {
        "engine": row.engine,
        "endpoints": list(row.endpoints),
        "grpc_endpoints": list(row.grpc_endpoints),
        "declared": row.declared,
    }


def _view(row: PoolRow) -> PoolView:
    return PoolView(
        name=row.name,
        engine=row.engine,
        endpoints=list(row.endpoints),
        grpc_endpoints=list(row.grpc_endpoints),
        declared=row.declared,
        revision=row.revision,
        updated_at=row.updated_at,
        updated_by=row.updated_by,
    )
