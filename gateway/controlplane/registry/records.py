"""What is recorded of versions: only ever added to, for what is once known of a version identifies it."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping

import msgspec
from sqlalchemy.orm import Session

from gateway.artefacts.faults import canonical_licence, description_problems, record_problems
from gateway.artefacts.record import ModelDescription, VersionRecord
from gateway.artefacts.signature import Signature, breaking_differences
from gateway.controlplane.change import Change
from gateway.controlplane.registry import store
from gateway.controlplane.registry.lineage import base_rows
from gateway.controlplane.registry.schemas import PutModel
from gateway.db.models import ModelRow, RecordRow
from gateway.errors import GatewayError, Kind

Records = Mapping[int, VersionRecord]


def record_of(row: RecordRow) -> VersionRecord:
    """The record that a row holds."""
    return msgspec.convert(row.record, VersionRecord)


def description_of(row: ModelRow) -> ModelDescription | None:
    """What is said of the model."""
    return None if row.description is None else msgspec.convert(row.description, ModelDescription)


def body_problems(body: PutModel) -> list[str]:
    """The faults of the description and of the records, one line each."""
    found = [] if body.description is None else description_problems(body.description, "description.")
    for index, each in enumerate(body.versions):
        if each.record is not None:
            found += record_problems(each.record, f"versions[{index}].record.")
    return found


def new_records(name: str, standing: Mapping[int, RecordRow], body: PutModel) -> Records:
    """The records that say more than those that stand, by version. Raises CONFLICT for what says something else."""
    found, problems = {}, []
    for each in body.versions:
        if each.record is None:
            continue
        row = standing.get(each.version)
        known = VersionRecord() if row is None else record_of(row)
        problems += [
            f"version {each.version}: {field}: differs from what is recorded"
            for field in VersionRecord.__struct_fields__
            if None not in (getattr(known, field), getattr(each.record, field))
            and getattr(known, field) != getattr(each.record, field)
        ]
        merged = msgspec.structs.replace(
            known,
            **{
                field: value
                for field in VersionRecord.__struct_fields__
                if (value := getattr(each.record, field)) is not None
            },
        )
        if merged != known:
            found[each.version] = merged
    if problems:
        raise GatewayError(
            Kind.CONFLICT,
            f"What identifies a version of {name} never changes; what came about otherwise is a new version: "
            + "; ".join(problems[:3]),
            problems=tuple(problems),
        )
    return found


def describe(row: ModelRow, description: ModelDescription) -> None:
    """Let this be what is said of the model."""
    row.description = msgspec.to_builtins(description)
    row.risk, row.licence = description.risk, description.licence


def canonical(description: ModelDescription | None) -> ModelDescription | None:
    """The description with its licence as SPDX writes it."""
    if description is None:
        return None
    return msgspec.structs.replace(description, licence=canonical_licence(description.licence))


def write_records(change: Change, name: str, standing: Mapping[int, RecordRow], records: Records) -> None:
    """Keep the records, with what their versions were made from."""
    for version, record in records.items():
        row = standing.get(version)
        if row is None:
            row = RecordRow(model=name, version=version, breaking=[], breaks=False)
            change.session.add(row)
        row.record = msgspec.to_builtins(record)
        row.recorded_at, row.recorded_by = change.at, change.actor
        store.set_bases(change.session, name, version, base_rows(name, version, record))
    change.session.flush()


def judge_signatures(session: Session, name: str) -> None:
    """Write onto each version's record which earlier versions' callers it breaks."""
    rows = store.records(session, name)
    signatures = {version: _signature(row) for version, row in rows.items()}
    # Versions are many, signatures few.
    alike: dict[bytes, tuple[Signature, list[int]]] = {}
    for version, signature in signatures.items():
        if signature is not None:
            alike.setdefault(msgspec.json.encode(signature), (signature, []))[1].append(version)
    for version, row in rows.items():
        now = signatures[version]
        found = [] if now is None else _broken(now, version, alike.values())
        if row.breaking != found:
            row.breaking, row.breaks = found, bool(found)
    session.flush()


def _broken(
    now: Signature, version: int, alike: Iterable[tuple[Signature, list[int]]]
) -> list[dict[str, object]]:
    by_differences: dict[tuple[str, ...], list[int]] = {}
    for then, versions in alike:
        earlier = versions[: bisect_left(versions, version)]
        differences = breaking_differences(then, now) if earlier and then != now else []
        if differences:
            by_differences.setdefault(tuple(differences), []).extend(earlier)
    return [
        {"versions": sorted(versions), "differences": list(differences)}
        for differences, versions in by_differences.items()
    ]


def _signature(row: RecordRow) -> Signature | None:
    return msgspec.convert(row.record["signature"], Signature | None)
