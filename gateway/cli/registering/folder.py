"""Reads a model folder in Triton's layout: its versions with their files and digests, and all that is known of them."""

import os
import posixpath
from collections.abc import Set
from pathlib import Path

import msgspec

from gateway.artefacts.files import ArtefactRefused, VersionFiles, version_files
from gateway.artefacts.record import ModelDescription, Origin, RecordedFile, VersionRecord
from gateway.cli.output import Refused
from gateway.cli.registering.config_file import CONFIG_FILE, ConfigFile, read_config_file
from gateway.cli.registering.crosscheck import agreed_signature, all_bases, disagreeing
from gateway.cli.registering.graph import Graph, read_graph
from gateway.cli.registering.model_file import MODEL_FILE, ModelFile, ModelFileRefused, read_model_file
from gateway.types import MAX_VERSION, NAME, VERSION


class FoundVersion(msgspec.Struct, frozen=True):
    """A version: its digest, its record, and what speaks against it: a graph that is none, or one that disagrees."""

    digest: str
    record: VersionRecord
    differences: list[str]


class ModelFolder(msgspec.Struct, frozen=True):
    """A model's name, what its model file says of it (None: there is none), and each version."""

    name: str
    description: ModelDescription | None
    versions: dict[int, FoundVersion]

    @property
    def digests(self) -> dict[int, str]:
        """The digest of each version, as `sha256:HEX`."""
        return {number: version.digest for number, version in self.versions.items()}


def read_model_folder(path: Path) -> ModelFolder:
    """Read and digest all of a model's folder.

    Raises `Refused` for a folder that is none of Triton's, for links, and for a model file with faults.
    """
    folder = Path(os.path.abspath(path))
    if folder.is_symlink():
        raise Refused(f"{path} is a link; name the folder that it leads to")
    if not folder.is_dir():
        raise Refused(f"{path} is no folder")
    if not NAME.fullmatch(folder.name):
        raise Refused(f"{folder.name!r} cannot be a model's name: letters, digits, '.', '_' and '-' only")
    if not (folder / CONFIG_FILE).is_file():
        raise Refused(f"{path} has no config.pbtxt; a model folder is one of a Triton model repository")
    try:
        return _read(folder)
    except ArtefactRefused as error:
        raise Refused(str(error)) from error
    except ModelFileRefused as error:
        raise Refused(f"{path} cannot be registered: {error}") from error


def _read(folder: Path) -> ModelFolder:
    described = os.path.lexists(folder / MODEL_FILE)
    said = read_model_file(folder / MODEL_FILE) if described else None
    config = read_config_file(folder)
    versions = {
        int(child.name): _read_version(child, config, said)
        for child in sorted(folder.iterdir())
        if VERSION.fullmatch(child.name) and int(child.name) <= MAX_VERSION
    }
    if not versions:
        raise ArtefactRefused(f"{folder} has no version: a folder named 1, 2, 3, … with the model's files")
    absent = sorted(set(said.versions if said else ()) - versions.keys())
    if absent:
        raise ModelFileRefused([f"{MODEL_FILE}: versions.{number}: has no folder" for number in absent])
    return ModelFolder(folder.name, said.description if said else None, versions)


def _read_version(folder: Path, config: ConfigFile, said: ModelFile | None) -> FoundVersion:
    found = version_files(folder)
    origin = said.origin(int(folder.name)) if said else Origin()
    graph, faults = None, list[str]()
    try:
        graph = _graph(folder, found, config)
        faults = _stray_weights(graph, {each.path for each in found.files}, config) if graph else []
    except ArtefactRefused as error:
        # Of a version that is registered already, other files are the news.
        faults = [str(error)]
    known = {name: getattr(origin, name) for name in Origin.__struct_fields__}
    known |= {
        "signature": agreed_signature(origin, config, graph),
        "base_models": all_bases(origin, config),
        "files": [RecordedFile(each.path, each.size_bytes, each.digest) for each in found.files],
    }
    return FoundVersion(found.digest, VersionRecord(**known), faults + disagreeing(origin, config, graph))


def _graph(folder: Path, found: VersionFiles, config: ConfigFile) -> Graph | None:
    """The version's ONNX graph; None where it has none. Triton takes a folder of the file's name too."""
    paths = {each.path for each in found.files}
    for path in (config.graph_file, f"{config.graph_file}/model.onnx"):
        if path in paths:
            return read_graph(folder / path)
    return None


def _stray_weights(graph: Graph, paths: Set[str], config: ConfigFile) -> list[str]:
    """Weights that are said to lie outside the version's files: what is there is no part of its digest."""
    beside = f"{config.graph_file}/" if f"{config.graph_file}/model.onnx" in paths else ""
    return [
        f"its graph has weights in {path!r}, which is none of the version's files"
        for path in sorted(graph.external)
        if posixpath.normpath(beside + path) not in paths or path.startswith("/")
    ]
