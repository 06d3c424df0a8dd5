"""The verbs on sampling. Who may `flip` an alias decides what is kept of its requests; who may `read` it sees what is."""

import os

import msgspec
from sqlalchemy.orm import Session

from gateway.controlplane import owned
from gateway.controlplane.change import Change
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.edge.preconditions import Preconditions
from gateway.controlplane.samples import store
from gateway.controlplane.samples.live import LiveSamples, live_samples
from gateway.controlplane.samples.schemas import (
    ArmView,
    PutSampling,
    RuleIn,
    SamplingList,
    SamplingView,
    WorkerProblem,
)
from gateway.db.models import SamplingRow
from gateway.errors import GatewayError, Kind, unprocessable
from gateway.snapshot.document import MaskRule, SamplingEntry
from gateway.snapshot.sampling import inclusions, sampling_problems
from gateway.types import WHOLE_BP


def list_samplings(session: Session, caller: Caller) -> SamplingList:
    """What is sampled, as far as the caller may see it."""
    live = live_samples(session)
    found = []
    for row in store.samplings(session):
        alias = owned.alias(session, row.alias)
        if alias is not None and owned.may_see_alias(caller, alias.name, alias.team):
            found.append(_view(session, row, alias.team, live))
    return SamplingList(found)


def show_sampling(session: Session, caller: Caller, alias: str) -> SamplingView:
    """How an alias is sampled. Raises NOT_FOUND where it is not."""
    team = owned.seen_alias(session, caller, alias).team
    return _view(session, _sampled(session, alias), team, live_samples(session))


def demand_change(session: Session, caller: Caller, alias: str) -> str:
    """The team of an alias whose sampling the caller may change. Raises NOT_FOUND or FORBIDDEN."""
    team = owned.seen_alias(session, caller, alias).team
    owned.demand_flip(caller, alias, team)
    return team


def put_sampling(
    change: Change,
    caller: Caller,
    alias: str,
    body: PutSampling,
    preconditions: Preconditions,
    astray: list[str],
) -> tuple[SamplingView, bool]:
    """Sample an alias, or replace how it is sampled; and whether that is new. The same again changes nothing.

    `astray` are faults of rules that name tensors which the alias's versions do not have, as far as somebody told.
    """
    session = change.session
    team = demand_change(session, caller, alias)
    row = store.sampling(session, alias)
    standing = None if row is None else store.entry_of(row)
    salt = os.urandom(16).hex() if standing is None else standing.salt
    entry = SamplingEntry(body.rate_bp, salt, rules_of(body))
    problems = sampling_problems(f"alias {alias}", entry) + astray
    if problems:
        raise unprocessable("The alias cannot be sampled like this", problems)
    same = entry == standing
    preconditions.check(row.revision if row else None, f"The sampling of alias {alias}", required=not same)
    created = row is None
    if row is None:
        row = SamplingRow(alias=alias, revision=0)
        session.add(row)
    if not same:
        before, row.entry = row.entry, msgspec.to_builtins(entry)
        row.reason = body.reason
        change.revise(row)
        change.record("sampling.set", f"alias:{alias}", before, row.entry, body.reason)
    return _view(session, row, team, []), created


def stop_sampling(
    change: Change, caller: Caller, alias: str, preconditions: Preconditions, reason: str | None
) -> None:
    """Keep no more samples of an alias. What was kept stays until it is too old. Raises NOT_FOUND where it is not sampled."""
    demand_change(change.session, caller, alias)
    row = _sampled(change.session, alias)
    preconditions.check(row.revision, f"The sampling of alias {alias}", required=False)
    change.session.delete(row)
    change.record("sampling.stop", f"alias:{alias}", row.entry, None, reason)


def rules_of(body: PutSampling) -> tuple[MaskRule, ...]:
    """The rules as a snapshot carries them."""
    return tuple(
        MaskRule(each.action, each.tensor, each.path, each.detector, each.part, each.optional)
        for each in body.rules
    )


def _sampled(session: Session, alias: str) -> SamplingRow:
    row = store.sampling(session, alias)
    if row is None:
        raise GatewayError(Kind.NOT_FOUND, f"Alias {alias} is not sampled.")
    return row


def _view(session: Session, row: SamplingRow, team: str, live: list[LiveSamples]) -> SamplingView:
    entry = store.entry_of(row)
    alias = owned.alias(session, row.alias)
    targets = [] if alias is None else alias.targets
    weights = [target.weight_bp for target in targets]
    problems = [
        WorkerProblem(each.worker, problem)
        for each in live
        for problem in (
            *each.report.problems.get(row.alias, ()),
            *([f"its store: {each.report.sink}"] if each.report.sink else ()),
        )
    ]
    return SamplingView(
        alias=row.alias,
        team=team,
        rate_bp=entry.rate_bp,
        salt=entry.salt,
        rules=msgspec.convert(msgspec.to_builtins(entry.rules), list[RuleIn]),
        arms=[
            ArmView(target.model, target.version, "candidate" if number else "stable", inclusion)
            for number, (target, inclusion) in enumerate(
                zip(targets, inclusions(entry.rate_bp / WHOLE_BP, weights), strict=True)
            )
        ],
        problems=problems,
        revision=row.revision,
        updated_at=row.updated_at,
        updated_by=row.updated_by,
        reason=row.reason,
    )
