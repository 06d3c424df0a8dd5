"""Models and versions as they are shown."""

from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from gateway.artefacts.faults import canonical_licence
from gateway.artefacts.record import Risk
from gateway.controlplane import owned
from gateway.controlplane.deprecations.rights import may_announce
from gateway.controlplane.deprecations.subject import VersionSubject
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.registry import store
from gateway.controlplane.registry.breaking import Callers
from gateway.controlplane.registry.records import description_of, record_of
from gateway.controlplane.registry.schemas import (
    Breaking,
    BrokenCaller,
    ModelLine,
    ModelList,
    ModelView,
    VersionLine,
    VersionRecordView,
    VersionView,
)
from gateway.db.models import ModelRow, RecordRow, VersionRow
from gateway.errors import GatewayError, Kind
from gateway.policy.rules import PLATFORM

_LATELY = timedelta(minutes=1)
"""A worker reports once a second; what one said that has long been silent need not be true any more."""


def list_models(
    session: Session,
    caller: Caller,
    *,
    team: str | None = None,
    risk: Risk | None = None,
    licence: str | None = None,
    text: str | None = None,
) -> ModelList:
    """The models that the caller may see, of a team, risk and licence, with a text in their name or description."""
    rows = [
        row
        for row in store.described_models(session, team=team, risk=risk, licence=_wanted_licence(licence))
        if (text is None or _mentions(row, text.casefold())) and owned.may_see_model(caller, row)
    ]
    versions = store.versions_of(session, [row.name for row in rows])
    return ModelList([_line(row, [VersionLine(*each) for each in versions[row.name]]) for row in rows])


def show_model(session: Session, caller: Caller, name: str) -> ModelView:
    """One model. Raises NOT_FOUND also for one that the caller may not see."""
    return model_view(session, caller, owned.seen_model(session, caller, name))


def show_version(session: Session, caller: Caller, name: str, version: int) -> VersionRecordView:
    """All that is known of one version. Raises NOT_FOUND."""
    row = owned.seen_model(session, caller, name)
    found = next((each for each in row.versions if each.version == version), None)
    if found is None:
        raise GatewayError(Kind.NOT_FOUND, f"Model {name} has no version {version}.")
    recorded = session.get(RecordRow, (name, version))
    return VersionRecordView(
        model=name,
        team=row.team,
        pool=row.pool,
        description=description_of(row),
        version=_version(found, recorded, _callers(session, caller, row), _other_files(session, name)),
        record=record_of(recorded) if recorded else None,
        recorded_at=recorded.recorded_at if recorded else None,
        recorded_by=recorded.recorded_by if recorded else None,
        revision=row.revision,
    )


def model_view(session: Session, caller: Caller, row: ModelRow) -> ModelView:
    """A model with its versions."""
    records = store.records(session, row.name)
    callers = _callers(session, caller, row)
    changed = _other_files(session, row.name)
    return ModelView(
        name=row.name,
        team=row.team,
        pool=row.pool,
        description=description_of(row),
        versions=[_version(each, records.get(each.version), callers, changed) for each in ordered(row)],
        revision=row.revision,
        updated_at=row.updated_at,
        updated_by=row.updated_by,
    )


def ordered(row: ModelRow) -> list[VersionRow]:
    """A model's versions, lowest first."""
    return sorted(row.versions, key=lambda each: each.version)


def _callers(session: Session, caller: Caller, row: ModelRow) -> Callers | None:
    """The model's callers; None where they are not for this caller to know."""
    subject = VersionSubject(row.name, 0)
    knows_all = may_announce(caller, subject, row.team) or caller.may("read", "@audit", PLATFORM)
    return Callers(session, row.name) if knows_all else None


def _other_files(session: Session, model: str) -> dict[int, list[str]]:
    return store.hosts_with_other_files(session, model, datetime.now(UTC) - _LATELY)


def _version(
    row: VersionRow, record: RecordRow | None, callers: Callers | None, changed: dict[int, list[str]]
) -> VersionView:
    breaking = [Breaking(**each) for each in record.breaking] if record else []
    broken = {version for each in breaking for version in each.versions}
    found: list[BrokenCaller] | None = [] if not broken else callers.of(broken) if callers else None
    return VersionView(
        row.version,
        row.digest,
        row.created_at,
        row.created_by,
        record is not None,
        breaking,
        found,
        changed.get(row.version, []),
    )


def _line(row: ModelRow, versions: list[VersionLine]) -> ModelLine:
    return ModelLine(
        name=row.name,
        team=row.team,
        pool=row.pool,
        risk=row.risk,  # type: ignore[arg-type]
        licence=row.licence,
        versions=versions,
        revision=row.revision,
        updated_at=row.updated_at,
        updated_by=row.updated_by,
    )


def _mentions(row: ModelRow, text: str) -> bool:
    """Whether the model's name, or what is said of it, has the text, whatever its case."""
    said = row.description or {}
    people = [value for each in said.get("stakeholders") or () for value in each.values()]
    texts = (row.name, said.get("description"), said.get("intended_use"), *people)
    return any(text in each.casefold() for each in texts if each)


def _wanted_licence(licence: str | None) -> str | None:
    try:
        return canonical_licence(licence)
    except ValueError:
        # No model can have it.
        return licence
