"""Versions that have other files than they are registered with: not loaded, not served, and nothing of them run."""

import shutil
from pathlib import Path

import pytest

from gateway.artefacts.files import version_files
from gateway.upstream.embedded import EmbeddedEngine
from gateway.upstream.embedded_pool import EmbeddedPool

SAMPLES = Path(__file__).parents[3] / "model_repository"
OTHER = f"sha256:{0:064x}"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The samples that make an ensemble."""
    for name in ("digits", "digits-names", "digits-label"):
        shutil.copytree(SAMPLES / name, tmp_path / name)
    return tmp_path


def digests(repository: Path) -> dict[tuple[str, int], str]:
    return {
        (folder.parent.name, int(folder.name)): version_files(folder).digest
        for folder in repository.glob("*/[0-9]*")
    }


def test_what_is_as_registered_or_not_registered_is_loaded(repository: Path) -> None:
    """A version without a digest is loaded as ever."""
    registered = digests(repository)
    del registered["digits", 3]
    engine = EmbeddedEngine(repository)
    engine.load(registered)
    assert engine.failures() == {}
    assert len(engine.ready_versions()) == 5


def test_a_tampered_version_is_not_loaded_and_neither_is_what_is_made_of_it(repository: Path) -> None:
    """The reason has both digests; versions beside it are served."""
    registered = digests(repository)
    shutil.copy(repository / "digits" / "3" / "model.onnx", repository / "digits" / "2" / "model.onnx")
    engine = EmbeddedEngine(repository)
    engine.load(registered)
    assert engine.ready_versions() == {("digits", 1), ("digits", 3), ("digits-names", 1)}
    assert registered["digits", 2] in engine.failures()["digits", 2]
    assert "digits@2 is not loaded" in engine.failures()["digits-label", 1]


def test_code_that_is_not_as_registered_is_not_run(tmp_path: Path) -> None:
    """Loading a Python model runs it: it is refused before that."""
    shutil.copytree(SAMPLES / "running-sum", tmp_path / "running-sum")
    ran = tmp_path / "ran"
    code = tmp_path / "running-sum" / "1" / "running_sum.py"
    registered = digests(tmp_path)
    code.write_text(f"open({str(ran)!r}, 'w').close()\n" + code.read_text())
    engine = EmbeddedEngine(tmp_path, python_models=True)
    engine.load(registered)
    assert engine.ready_versions() == frozenset()
    assert not ran.exists()
    engine.load()
    assert ran.exists()
    engine.close()


def test_a_version_that_cannot_be_digested_is_refused_only_where_it_is_registered(repository: Path) -> None:
    """A link in its folder: who registered it had none."""
    registered = digests(repository)
    (repository / "digits" / "1" / "link").symlink_to("/etc/hostname")
    engine = EmbeddedEngine(repository)
    engine.load(registered)
    assert "cannot be held against" in engine.failures()["digits", 1]
    engine.load()
    assert ("digits", 1) in engine.ready_versions()
    assert ("digits", 1) in engine.hold(registered)


def test_a_registration_that_comes_later_withdraws_and_brings_back(repository: Path) -> None:
    """The engine started before the version was registered; ensembles go and come with their steps."""
    engine = EmbeddedEngine(repository)
    engine.load()
    pool = EmbeddedPool(engine, 1)
    everything = engine.ready_versions()
    right = digests(repository)
    pool.hold(right | {("digits", 2): OTHER})
    assert everything - engine.ready_versions() == {("digits", 2), ("digits-label", 1)}
    assert OTHER in engine.failures()["digits", 2]
    pool.hold(right)
    assert engine.ready_versions() == everything
    assert engine.failures() == {}
    pool.close()
