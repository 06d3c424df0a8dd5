"""The verbs on models. Who may register: `admin` on `@models`, or `flip` on the model's name in its team's domain.

The second lets a team that moves its own traffic bring its own models; seeing one takes `read` on its name there,
or `read` on `@models`.
"""

from collections.abc import Mapping

from sqlalchemy.orm import Session

from gateway.controlplane import owned
from gateway.controlplane.change import Change
from gateway.controlplane.deprecations.retirement import retire
from gateway.controlplane.deprecations.subject import VersionSubject
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.edge.preconditions import Preconditions
from gateway.controlplane.registry import records, store
from gateway.controlplane.registry.lineage import circles
from gateway.controlplane.registry.schemas import ModelView, PutModel
from gateway.controlplane.registry.views import model_view, ordered
from gateway.db.models import ModelRow, PoolRow, RecordRow, VersionRow
from gateway.errors import GatewayError, Kind, unprocessable
from gateway.snapshot.document import ModelEntry
from gateway.snapshot.problems import model_problems
from gateway.types import NAME

_REFUSED = "The model cannot be registered"


def put_model(
    change: Change, caller: Caller, name: str, body: PutModel, preconditions: Preconditions
) -> tuple[ModelView, bool]:
    """Register a model, add versions, or say more of it; and whether it is new.

    Adding versions and what is not known yet overwrites nothing and needs no If-Match; moving the model to another team
    or pool, and saying something else of it, does.
    """
    row = change.session.get(ModelRow, name) if NAME.fullmatch(name) else None
    if row is not None and not owned.may_see_model(caller, row):
        row = None
    team = body.team if body.team is not None or row is None else row.team
    pool = body.pool if body.pool is not None or row is None else row.pool
    if team is None or pool is None:
        raise unprocessable(
            _REFUSED,
            [
                f"{what}: required for a new model"
                for what, value in (("team", team), ("pool", pool))
                if value is None
            ],
        )
    for domain in {team, row.team if row else team}:
        owned.demand_register(caller, name, domain)
    if row is None and change.session.get(ModelRow, name) is not None:
        raise GatewayError(Kind.CONFLICT, f"The name {name} is taken by a model of another team.")
    fresh = _fresh_versions(row, body)
    standing = store.records(change.session, name) if row is not None else {}
    recorded = records.new_records(name, standing, body)
    entry = ModelEntry(name, team, pool, (*_numbers(row), *(each.version for each in fresh)))
    _check(change.session, entry, [*records.body_problems(body), *circles(change.session, name, recorded)])
    moved = row is not None and (team, pool) != (row.team, row.pool)
    said = records.description_of(row) if row is not None else None
    description = records.canonical(body.description)
    described = description is not None and description != said
    overwrites = moved or (described and said is not None)
    preconditions.check(row.revision if row else None, f"Model {name}", required=overwrites)
    if row is not None and not (moved or fresh or recorded or described):
        return model_view(change.session, caller, row), False
    before = _plain(row, standing)
    created = row is None
    if row is None:
        row = ModelRow(name=name, revision=0, versions=[])
        change.session.add(row)
    row.team, row.pool = team, pool
    if described and description is not None:
        records.describe(row, description)
    row.versions += fresh
    for version in fresh:
        version.created_at, version.created_by = change.at, change.actor
    change.revise(row)
    if recorded:
        records.write_records(change, name, standing, recorded)
        records.judge_signatures(change.session, name)
    after = _plain(row, store.records(change.session, name))
    change.record("model.register", f"model:{name}", before, after, body.reason)
    return model_view(change.session, caller, row), created


def remove_version(
    change: Change,
    caller: Caller,
    name: str,
    version: int,
    preconditions: Preconditions,
    reason: str | None,
    *,
    force: bool = False,
) -> None:
    """Forget a version that no alias targets. Raises CONFLICT naming the aliases that do, or, unless forced, the callers
    who name the version; NOT_FOUND.
    """
    row = owned.seen_model(change.session, caller, name)
    owned.demand_register(caller, name, row.team)
    found = next((each for each in row.versions if each.version == version), None)
    if found is None:
        raise GatewayError(Kind.NOT_FOUND, f"Model {name} has no version {version}.")
    aliases = owned.aliases_of_version(change.session, name, version)
    if aliases:
        raise GatewayError(
            Kind.CONFLICT,
            f"Version {version} of {name} is a target of {', '.join(aliases)}; take it out there first.",
        )
    preconditions.check(row.revision, f"Model {name}", required=False)
    told = retire(change, VersionSubject(name, version), force=force, reason=reason)
    before = _plain(row, store.records(change.session, name))
    row.versions.remove(found)
    change.revise(row)
    change.session.expire_all()
    records.judge_signatures(change.session, name)
    after = _plain(row, store.records(change.session, name))
    change.record("model.remove-version", f"model:{name}", (before or {}) | told, after, reason)


def _fresh_versions(row: ModelRow | None, body: PutModel) -> list[VersionRow]:
    known = {each.version: each.digest for each in row.versions} if row else {}
    changed = [each for each in body.versions if known.get(each.version, each.digest) != each.digest]
    if changed:
        raise GatewayError(
            Kind.CONFLICT,
            "A version is one immutable artefact; register changed files as a new version.",
            problems=tuple(
                f"version {each.version} is {known[each.version]}, not {each.digest}" for each in changed
            ),
        )
    return [
        VersionRow(version=each.version, digest=each.digest)
        for each in body.versions
        if each.version not in known
    ]


def _check(session: Session, entry: ModelEntry, problems: list[str]) -> None:
    """Refuse what a snapshot would refuse, and a name that would put another team's alias in its shadow.

    `problems` are those that were found before; all are told together.
    """
    pool = session.get(PoolRow, entry.pool) if NAME.fullmatch(entry.pool) else None
    problems = [*problems, *model_problems(entry, set() if pool is None else {pool.name})]
    owner = store.team_of_alias(session, entry.name) if NAME.fullmatch(entry.name) else None
    if owner is not None and owner != entry.team:
        problems.append(f"model {entry.name}: has the name of an alias that belongs to another team")
    if problems:
        raise unprocessable(_REFUSED, problems)


def _numbers(row: ModelRow | None) -> tuple[int, ...]:
    return tuple(each.version for each in row.versions) if row else ()


def _plain(row: ModelRow | None, recorded: Mapping[int, RecordRow]) -> dict[str, object] | None:
    """The model as the audit keeps it. A version's digest stands for its files."""
    if row is None:
        return None
    versions: list[dict[str, object]] = []
    for each in ordered(row):
        found: dict[str, object] = {"version": each.version, "digest": each.digest}
        record = recorded.get(each.version)
        if record is not None:
            known = {name: value for name, value in record.record.items() if name != "files"}
            found |= {"record": known, "breaking": record.breaking}
        versions.append(found)
    return {"team": row.team, "pool": row.pool, "description": row.description, "versions": versions}
