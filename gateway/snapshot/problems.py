"""What forbids a snapshot, and its single entries; the control plane asks the same before it writes anything."""

import math
import re
from collections import Counter
from collections.abc import Iterable

from gateway.snapshot.adapters import adapter_problems
from gateway.snapshot.deprecation import deprecation_problems
from gateway.snapshot.document import AliasEntry, KeyEntry, ModelEntry, PoolEntry, SnapshotDocument
from gateway.snapshot.endpoints import endpoint_problem, grpc_problem
from gateway.snapshot.quotas import quota_problems
from gateway.snapshot.sampling import sampling_problems
from gateway.types import MAX_VERSION, NAME, PRINCIPAL, WHOLE_BP

_HEX_16 = re.compile(r"[0-9a-f]{32}")


def find_problems(document: SnapshotDocument) -> list[str]:
    """Every fault of a document that decodes."""
    problems: list[str] = []
    if not 1 <= document.version <= MAX_VERSION:
        problems.append(f"the snapshot's version is not a number from 1 to {MAX_VERSION}")
    if not math.isfinite(document.created_at):
        problems.append("the snapshot's time is no time")
    if not document.installation:
        problems.append("the snapshot does not say of which installation it is")
    pools = {pool.name for pool in document.pools}
    models = {model.name: model for model in document.models}
    for pool in document.pools:
        problems += pool_problems(pool)
    for model in document.models:
        problems += model_problems(model, pools)
    for alias in document.aliases:
        problems += _alias_problems(alias, models)
    for key in document.keys:
        problems += _key_problems(key)
    for quota in document.quotas:
        problems += quota_problems(quota)
    problems += _repeated("pool", (pool.name for pool in document.pools))
    problems += _repeated("model", (model.name for model in document.models))
    problems += _repeated("alias", (alias.name for alias in document.aliases))
    problems += _repeated("key", (key.id for key in document.keys))
    problems += _repeated("key digest of", (key.digest for key in document.keys))
    problems += _repeated("quota", (quota.name for quota in document.quotas))
    return problems


def target_problems(
    alias: str, team: str, targets: Iterable[tuple[str, int, int]], models: dict[str, ModelEntry]
) -> list[str]:
    """Faults of an alias's targets, given as (model, version, weight in basis points).

    Also used by the control plane before it writes anything.
    """
    found: list[str] = []
    rows = list(targets)
    if not rows:
        found.append(f"alias {alias}: has no target")
    for model_name, version, weight_bp in rows:
        model = models.get(model_name)
        if model is None:
            found.append(
                f"alias {alias}: there is no model {model_name!r} to send traffic to; an alias is no target"
            )
        elif version not in model.versions:
            known = ", ".join(map(str, sorted(model.versions))) or "none"
            found.append(f"alias {alias}: model {model_name} has no version {version}; registered: {known}")
        if not 0 <= weight_bp <= WHOLE_BP:
            found.append(
                f"alias {alias}: weight {weight_bp} of {model_name}@{version} is not between 0 and {WHOLE_BP}"
            )
    total = sum(weight_bp for _, _, weight_bp in rows)
    if rows and total != WHOLE_BP:
        found.append(f"alias {alias}: the weights sum to {total} basis points, not to {WHOLE_BP}")
    found += _repeated(f"alias {alias}: target", (f"{model}@{version}" for model, version, _ in rows))
    namesake = models.get(alias)
    if namesake is not None and namesake.team != team:
        found.append(
            f"alias {alias}: has the name of a model that belongs to team {namesake.team}, not {team}"
        )
    return found


def pool_problems(pool: PoolEntry) -> list[str]:
    """What forbids a pool, one line each."""
    found = _name_problems("pool", pool.name)
    if pool.engine == "triton" and not pool.endpoints:
        found.append(f"pool {pool.name}: has no endpoint")
    if pool.engine == "embedded" and pool.endpoints:
        found.append(f"pool {pool.name}: the embedded engine has no endpoints")
    for url in pool.endpoints:
        problem = endpoint_problem(url)
        if problem is not None:
            found.append(f"pool {pool.name}: endpoint {url!r} {problem}")
    if pool.grpc_endpoints and len(pool.grpc_endpoints) != len(pool.endpoints):
        found.append(f"pool {pool.name}: as many gRPC addresses as endpoints are needed, or none")
    for url in pool.grpc_endpoints:
        problem = grpc_problem(url)
        if problem is not None:
            found.append(f"pool {pool.name}: gRPC address {url!r} {problem}")
    return found + _repeated(f"pool {pool.name}: endpoint", pool.endpoints)


def model_problems(model: ModelEntry, pools: set[str]) -> list[str]:
    """What forbids a model, one line each; `pools` are the names of those that there are."""
    found = _name_problems("model", model.name) + _name_problems(f"model {model.name}: team", model.team)
    if model.pool not in pools:
        found.append(f"model {model.name}: there is no pool {model.pool!r}")
    found += [
        f"model {model.name}: version {version} is not between 1 and {MAX_VERSION}"
        for version in model.versions
        if not 1 <= version <= MAX_VERSION
    ]
    for each in model.deprecations:
        found += deprecation_problems(f"version {model.name}@{each.version}", each.deprecation)
    if model.digests and len(model.digests) != len(model.versions):
        found.append(
            f"model {model.name}: has {len(model.digests)} digests for {len(model.versions)} versions"
        )
    return found + _repeated(f"model {model.name}: version", map(str, model.versions))


def _alias_problems(alias: AliasEntry, models: dict[str, ModelEntry]) -> list[str]:
    found = _name_problems("alias", alias.name) + _name_problems(f"alias {alias.name}: team", alias.team)
    rows = [(target.model, target.version, target.weight_bp) for target in alias.targets]
    found += target_problems(alias.name, alias.team, rows, models)
    if alias.deprecation is not None:
        found += deprecation_problems(f"alias {alias.name}", alias.deprecation)
    if alias.sampling is not None:
        found += sampling_problems(f"alias {alias.name}", alias.sampling)
    if alias.adapter is not None:
        found += adapter_problems(f"alias {alias.name}: adapter", alias.adapter)
    if not _HEX_16.fullmatch(alias.salt):
        found.append(f"alias {alias.name}: the salt is not 16 bytes of hexadecimal")
    at = 0
    shares = [0] * len(rows)
    for piece in alias.slices:
        if piece.start != at or piece.end <= at or not 0 <= piece.target < len(rows):
            found.append(f"alias {alias.name}: its slices do not follow one another")
            return found
        shares[piece.target] += piece.end - piece.start
        at = piece.end
    if at != WHOLE_BP or shares != [weight_bp for _, _, weight_bp in rows]:
        found.append(f"alias {alias.name}: its slices are not its weights")
    return found


def _key_problems(key: KeyEntry) -> list[str]:
    found: list[str] = []
    if not key.id:
        found.append("a key has no id")
    if not _HEX_16.fullmatch(key.digest):
        found.append(f"key {key.id}: the digest is not 16 bytes of hexadecimal")
    if not PRINCIPAL.fullmatch(key.principal):
        found.append(f"key {key.id}: {key.principal!r} is no principal; write app:NAME or user:NAME")
    return found


def _name_problems(what: str, name: str) -> list[str]:
    return (
        []
        if NAME.fullmatch(name)
        else [f"{what} {name!r} is not a name of 1 to 128 letters, digits, '.', '_', '-'"]
    )


def _repeated(what: str, names: Iterable[str]) -> list[str]:
    return [
        f"{what} {name!r} stands there {count} times" for name, count in Counter(names).items() if count > 1
    ]
