"""Triton's model repository on disk: `<model>/config.pbtxt`, `<model>/<version>/model.onnx`, and label files."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from gateway.artefacts.files import ArtefactRefused, version_files
from gateway.artefacts.watch import stamp
from gateway.types import NAME, VERSION
from gateway.upstream.embedded.completion import check_agreement, complete, complete_ensemble, complete_python
from gateway.upstream.embedded.config import (
    MODEL_FILENAME,
    ModelConfig,
    engine_config,
    is_ensemble,
    is_python,
    read_config,
    select_versions,
    thread_count,
    wants_gpu,
)
from gateway.upstream.embedded.ensemble import Ensemble, Run, Step
from gateway.upstream.embedded.messages import LoadFailure
from gateway.upstream.embedded.printing import printed_config, printed_metadata
from gateway.upstream.embedded.python_model import PythonModel
from gateway.upstream.embedded.sequences import Sequences
from gateway.upstream.embedded.session import Session
from gateway.upstream.embedded.statistics import Recorder

NO_VERSION = 0
"""The version under which a failure of a model without any version folder is kept."""


Model = Session | PythonModel | Ensemble


class LoadedVersion(msgspec.Struct, frozen=True):
    """One version that can be served. `labels` holds the lines of each output's label file.

    `sequences` are those of a model whose requests come in sequences. `digest` is that of its files as they were loaded,
    empty where they have none; `steps` are the versions that an ensemble is made of.
    """

    version: int
    config: ModelConfig
    model: Model
    labels: Mapping[str, tuple[str, ...]]
    recorder: Recorder
    config_body: bytes
    metadata_body: bytes
    sequences: Sequences | None = None
    digest: str = ""
    steps: frozenset[tuple[str, int]] = frozenset()

    def close(self) -> None:
        """Ends what the model runs beside calls, if it is one that does."""
        if isinstance(self.model, PythonModel):
            self.model.close()


Key = tuple[str, int]
Found = tuple[Key, LoadedVersion | LoadFailure]
Loaded = Mapping[Key, LoadedVersion]


class Terms(msgspec.Struct, frozen=True):
    """On which models are loaded: the threads of one ONNX run, whether models that are Python code may run, and the digests
    that versions are registered with.
    """

    intra_op_threads: int
    python_models: bool
    registered: Mapping[Key, str] = {}


def load_repository(repository: Path, terms: Terms) -> list[Found]:
    """Loads every model: each version that the policies name with its model or why it has none.

    Ensembles come last, since they are made of the others; an ensemble in an ensemble finds its steps missing.
    """
    found: list[Found] = []
    ensembles: list[tuple[Path, list[int], Any]] = []
    for folder, versions in _model_folders(repository):
        try:
            message = read_config(folder)
        except LoadFailure as failure:
            found += [((folder.name, version), failure) for version in versions or [NO_VERSION]]
            continue
        if is_ensemble(message):
            ensembles.append((folder, versions, message))
        else:
            found += _load_model(folder, versions, message, terms, {})
    loaded = {key: version for key, version in found if isinstance(version, LoadedVersion)}
    for folder, versions, message in ensembles:
        found += _load_model(folder, versions, message, terms, loaded)
    return found


def _model_folders(repository: Path) -> Iterator[tuple[Path, list[int]]]:
    for folder in sorted(repository.iterdir()):
        # No alias can name it, and it may not be ours to look into: a volume's lost+found.
        if not NAME.fullmatch(folder.name):
            continue
        versions = _version_folders(folder)
        if versions or (folder / "config.pbtxt").is_file():
            yield folder, versions


def _version_folders(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if p.is_dir() and VERSION.fullmatch(p.name))


def _load_model(
    folder: Path, versions: list[int], message: Any, terms: Terms, loaded: Loaded
) -> Iterator[Found]:
    chosen, absent = select_versions(message, versions)
    for version in absent:
        yield (
            (folder.name, version),
            LoadFailure(f"version {version}, which version_policy names, has no folder"),
        )
    if not chosen and not absent:
        yield (
            (folder.name, NO_VERSION),
            LoadFailure(f"at least one version must be available for model '{folder.name}'"),
        )
    for version in chosen:
        try:
            yield (folder.name, version), _load_checked(folder, version, message, terms, loaded)
        except LoadFailure as failure:
            yield (folder.name, version), failure


def _load_checked(folder: Path, version: int, message: Any, terms: Terms, others: Loaded) -> LoadedVersion:
    """Load a version if its files are those that it is registered with; a model that is code would run them."""
    registered = terms.registered.get((folder.name, version))
    try:
        before = stamp(folder / str(version))
        digest = version_files(folder / str(version)).digest
    except (ArtefactRefused, OSError) as fault:
        if registered is not None:
            raise LoadFailure(f"its files cannot be held against the registered digest: {fault}") from fault
        # As Triton does, which knows no digests.
        return _load_version(folder, version, message, terms, others)
    if registered not in (None, digest):
        raise LoadFailure(other_files(digest, str(registered)))
    loaded = _load_version(folder, version, message, terms, others)
    try:
        if stamp(folder / str(version)) != before:
            raise LoadFailure("its files changed while they were loaded")
    except (ArtefactRefused, OSError) as fault:
        raise LoadFailure(f"its files changed while they were loaded: {fault}") from fault
    return msgspec.structs.replace(loaded, digest=digest)


def other_files(digest: str, registered: str) -> str:
    """Why a version with another digest than the registered one is not served."""
    return f"its files are not those that were registered: their digest is {digest}, not {registered}"


def _load_version(
    folder: Path, version: int, model_message: Any, terms: Terms, others: Loaded
) -> LoadedVersion:
    # Each version is completed from its own file: they may differ where the configuration leaves things open.
    message = type(model_message)()
    message.CopyFrom(model_message)
    loaded: Model
    sequences = Sequences(message) if message.HasField("sequence_batching") else None
    steps: frozenset[Key] = frozenset()
    if is_ensemble(message):
        loaded, steps = _load_ensemble(message, others)
    elif is_python(message):
        loaded = _load_python(folder, version, message, terms)
    else:
        loaded = _load_onnx(folder, version, message, terms)
    config = engine_config(message)
    labels = {
        spec.name: _labels(_inside(folder, spec.label_filename))
        for spec in config.outputs
        if spec.label_filename
    }
    return LoadedVersion(
        version,
        config,
        loaded,
        labels,
        Recorder(config.name, version),
        printed_config(message),
        printed_metadata(config, version),
        sequences,
        steps=steps,
    )


def _load_ensemble(message: Any, others: Loaded) -> tuple[Ensemble, frozenset[Key]]:
    complete_ensemble(message)
    steps = []
    keys = set()
    for step in message.ensemble_scheduling.step:
        latest = max((version for name, version in others if name == step.model_name), default=NO_VERSION)
        wanted = step.model_version if step.model_version > 0 else latest
        version = others.get((step.model_name, wanted))
        if version is None:
            raise LoadFailure(
                f"ensemble '{message.name}': its step {step.model_name}@{wanted or 'any'} is not loaded"
            )
        if version.sequences is not None:
            raise LoadFailure(
                f"ensemble '{message.name}': its step '{step.model_name}' wants sequences, which steps here have not"
            )
        keys.add((step.model_name, wanted))
        steps.append(
            Step(
                version.config,
                _run_of(version.model),
                version.recorder,
                dict(sorted(step.input_map.items())),
                dict(sorted(step.output_map.items())),
            )
        )
    return Ensemble(engine_config(message), steps), frozenset(keys)


def _run_of(model: Model) -> Run:
    if isinstance(model, PythonModel):
        return lambda outputs, feed, asker: model.run(outputs, feed, 0, asker)
    if isinstance(model, Ensemble):
        return model.run
    return lambda outputs, feed, _: model.run(outputs, feed)


def _load_python(folder: Path, version: int, message: Any, terms: Terms) -> PythonModel:
    if not terms.python_models:
        raise LoadFailure(
            f"model '{message.name}' is Python code, which runs in the gateway's own process, as the gateway itself; "
            "where that is wanted, set embedded.python_models = true"
        )
    instances = complete_python(message)
    if message.HasField("sequence_batching"):
        # The state of a sequence is in one instance, and Triton's way of keeping to it is not here.
        instances = 1
    path = _inside(folder, f"{version}/{message.default_model_filename}")
    if not path.is_file():
        raise LoadFailure(f"failed to load model: no such file: {path}")
    config = engine_config(message)
    if any(spec.reshape is not None for spec in config.inputs + config.outputs):
        raise LoadFailure(f"model '{message.name}': Python models with a reshape are not served here")
    arguments = {
        "model_config": printed_config(message).decode(),
        "model_instance_kind": "CPU",
        "model_instance_name": f"{message.name}_0",
        "model_instance_device_id": "0",
        "model_repository": str(folder),
        "model_version": str(version),
        "model_name": message.name,
    }
    return PythonModel(path, config, instances, arguments)


def _load_onnx(folder: Path, version: int, message: Any, terms: Terms) -> Session:
    path = _inside(folder, f"{version}/{message.default_model_filename or MODEL_FILENAME}")
    threads = thread_count(message, terms.intra_op_threads)
    session = Session(path, intra_op_threads=threads, gpu_wanted=wants_gpu(message))
    complete(message, session.signature, on_gpu=session.on_gpu)
    config = engine_config(message)
    batched = config.max_batch_size > 0
    check_agreement(config.name, config.inputs, session.signature.inputs, batched)
    check_agreement(config.name, config.outputs, session.signature.outputs, batched)
    missing = {tensor.name for tensor in session.signature.inputs} - {spec.name for spec in config.inputs}
    if missing:
        raise LoadFailure(
            f"unable to load model '{config.name}', configuration lacks input(s) {sorted(missing)}"
        )
    return session


def _inside(folder: Path, name: str) -> Path:
    """A file that a configuration names, which must lie in the model's folder."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise LoadFailure(f"'{name}' lies outside the folder of model '{folder.name}'")
    return path


def _labels(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as fault:
        raise LoadFailure(f"unable to read label file {path}: {fault}") from fault
