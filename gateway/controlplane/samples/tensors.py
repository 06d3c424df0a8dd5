"""What a model's server tells of its tensors, asked before rules on them are taken. Nobody has to answer."""

import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import msgspec

from gateway.controlplane.samples.schemas import RuleIn
from gateway.snapshot.compile import Snapshot
from gateway.snapshot.sampling import ANY_TENSOR
from gateway.types import Pool, Target
from gateway.upstream.tensors import VersionTensors

_ALTOGETHER_S = 3.0
_EACH_S = 1.0


def find_astray(
    snapshot: Snapshot, alias: str, rules: Sequence[RuleIn], model_repository: Path | None
) -> list[str]:
    """Faults of rules that name tensors which a version of the alias does not have, as far as its server tells in time.

    What nobody tells is found out by the workers, which keep nothing until they know. Blocks for a few seconds at most.
    """
    named = [rule for rule in rules if rule.tensor not in (None, ANY_TENSOR) and not rule.optional]
    if not named or alias not in snapshot.aliases:
        return []
    problems: list[str] = []
    until = time.monotonic() + _ALTOGETHER_S
    with httpx.Client(timeout=_EACH_S, follow_redirects=False, trust_env=False) as client:
        for target in snapshot.aliases[alias].targets:
            tensors = _ask(client, snapshot.pools.get(target.pool), target, model_repository, until)
            if tensors is not None:
                problems += _faults(target, tensors, named)
    return problems


def _faults(target: Target, tensors: VersionTensors, rules: Sequence[RuleIn]) -> list[str]:
    names = {
        "request": [spec.name for spec in tensors.inputs],
        "reply": [spec.name for spec in tensors.outputs],
    }
    found: list[str] = []
    for rule in rules:
        known = names[rule.part] if rule.part else names["request"] + names["reply"]
        if rule.tensor not in known:
            where = f" in its {rule.part}" if rule.part else ""
            found.append(
                f"{target.model}@{target.version} has no tensor {rule.tensor!r}{where}; it has {', '.join(known) or 'none'}. "
                "A rule that only some versions need can be made optional."
            )
    return found


def _ask(
    client: httpx.Client, pool: Pool | None, target: Target, model_repository: Path | None, until: float
) -> VersionTensors | None:
    if pool is None:
        return None
    if pool.engine == "embedded":
        return None if model_repository is None else _declared(model_repository / target.model)
    for endpoint in pool.endpoints:
        if time.monotonic() > until:
            break
        try:
            reply = client.get(f"{endpoint}{target.upstream_path.decode()}")
            if reply.status_code == 200:
                return msgspec.json.decode(reply.content, type=VersionTensors)
        except (httpx.HTTPError, msgspec.DecodeError):
            continue
    return None


def _declared(folder: Path) -> VersionTensors | None:
    """What a model's config.pbtxt declares, where it declares both sides."""
    from gateway.upstream.embedded.config import read_config
    from gateway.upstream.embedded.messages import LoadFailure
    from gateway.upstream.tensors import TensorSpec

    try:
        config = read_config(folder)
    except (LoadFailure, OSError):
        return None
    if not config.input or not config.output:
        return None
    return VersionTensors(
        tuple(TensorSpec(each.name, "") for each in config.input),
        tuple(TensorSpec(each.name, "") for each in config.output),
    )
