"""What the doctor looks at where models are served: endpoints, loaded versions, the embedded engine's repository."""

import asyncio
from collections.abc import Iterator, Mapping

import httpx

from gateway.cli.doctor.findings import Finding, broken, ok, warning
from gateway.settings import Settings
from gateway.snapshot.document import PoolEntry, SnapshotDocument
from gateway.upstream.endpoint import Version
from gateway.upstream.health import probe

Loaded = frozenset[Version] | None
"""The versions that a server has ready; None for one that does not tell."""


def look_at_serving(settings: Settings, document: SnapshotDocument | None) -> Iterator[Finding]:
    """Whether every endpoint answers, and every version that an alias sends traffic to is loaded somewhere."""
    embedded: frozenset[Version] | None = None
    if settings.role != "control" and settings.embedded.model_repository is not None:
        findings, embedded = _repository(settings, document)
        yield from findings
    if document is None:
        return
    weights = _targeted(document)
    pools = {model.name: model.pool for model in document.models}
    for pool in document.pools:
        wanted = {target: weight for target, weight in weights.items() if pools[target[0]] == pool.name}
        if pool.engine == "embedded":
            if settings.role != "control":
                yield from _embedded_pool(pool, wanted, embedded)
        else:
            yield from _triton_pool(
                pool, wanted, asyncio.run(_probe(pool.endpoints, settings.upstream.probe_timeout_s))
            )
    if not document.aliases:
        yield warning(
            "aliases",
            "there is none, so nobody can call anything",
            "maas model register, then maas alias set",
        )


def _targeted(document: SnapshotDocument) -> dict[Version, int]:
    """Every version that some alias names, with the greatest weight that it has, in basis points."""
    weights: dict[Version, int] = {}
    for alias in document.aliases:
        for target in alias.targets:
            version = (target.model, target.version)
            weights[version] = max(target.weight_bp, weights.get(version, 0))
    return weights


async def _probe(urls: tuple[str, ...], timeout_s: float) -> dict[str, tuple[Loaded, str]]:
    async with httpx.AsyncClient(timeout=timeout_s, follow_redirects=False, trust_env=False) as client:
        answers = await asyncio.gather(*(probe(url, client, timeout_s) for url in urls))
    return dict(zip(urls, answers, strict=True))


def _triton_pool(
    pool: PoolEntry, wanted: Mapping[Version, int], answers: Mapping[str, tuple[Loaded, str]]
) -> Iterator[Finding]:
    check = f"pool {pool.name}"
    ready = {url: loaded for url, (loaded, why) in answers.items() if not why}
    for url, (loaded, why) in answers.items():
        if not why:
            count = "does not tell its versions" if loaded is None else f"{len(loaded)} model versions loaded"
            yield ok(check, f"{url} is ready, {count}")
        elif ready or not wanted:
            yield warning(
                check, f"{url} is not ready: {why}", "start it, or take it out with `maas pool set`"
            )
        else:
            yield broken(
                check,
                f"{url} is not ready: {why}; no other endpoint is left",
                "start it; its callers get 503",
            )
    for (model, version), weight in sorted(wanted.items()):
        lacking = [
            url for url, loaded in ready.items() if loaded is not None and (model, version) not in loaded
        ]
        if not lacking:
            continue
        found = f"{model}@{version} is not loaded at {', '.join(lacking)}"
        todo = "load it there: check the repository, its version_policy and Triton's log"
        yield (broken if len(lacking) == len(ready) and weight else warning)(check, found, todo)


def _embedded_pool(pool: PoolEntry, wanted: Mapping[Version, int], loaded: Loaded) -> Iterator[Finding]:
    check = f"pool {pool.name}"
    if loaded is None:
        yield broken(
            check,
            "is served by the embedded engine, which has no models here",
            "set embedded.model_repository",
        )
        return
    missing = [f"{model}@{version}" for model, version in sorted(wanted) if (model, version) not in loaded]
    if missing:
        todo = "put it into the model repository and restart the gateway"
        yield broken(check, f"the embedded engine has not loaded {', '.join(missing)}", todo)
    else:
        yield ok(check, f"the embedded engine has all {len(wanted)} versions that aliases send traffic to")


def _repository(
    settings: Settings, document: SnapshotDocument | None
) -> tuple[list[Finding], frozenset[Version] | None]:
    """Loads the embedded engine's repository as the gateway would; its faults, and what can be served."""
    check, folder = "model repository", settings.embedded.model_repository
    assert folder is not None
    try:
        from gateway.upstream.embedded import EmbeddedEngine

        engine = EmbeddedEngine(folder, python_models=settings.embedded.python_models)
        models = document.models if document else ()
        engine.load({version: digest for model in models for version, digest in model.digest_of().items()})
    except ImportError as error:
        return [
            broken(
                check,
                f"cannot be loaded: {error}",
                "install onnxruntime, or onnxruntime-gpu: the extras `cpu` and `gpu`",
            )
        ], None
    except OSError as error:
        return [broken(check, f"{folder}: {error.strerror}", "correct embedded.model_repository")], None
    try:
        versions = engine.ready_versions()
        findings = [
            warning(check, f"{model}@{version}: {reason}", "correct its config.pbtxt or its files")
            for (model, version), reason in sorted(engine.failures().items())
        ]
    finally:
        engine.close()
    if versions:
        findings.append(
            ok(check, f"{folder}: {len(versions)} versions of {len({m for m, _ in versions})} models load")
        )
    else:
        findings.append(
            broken(check, f"{folder} has no model that loads", "put one there, in Triton's layout")
        )
    return findings, versions
