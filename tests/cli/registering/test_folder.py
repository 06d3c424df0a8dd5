"""Model folders: versions, their digests, and what is refused."""

import os
import shutil
from pathlib import Path

import pytest

from gateway.artefacts.files import version_files
from gateway.cli.output import Refused
from gateway.cli.registering.folder import read_model_folder

DIGITS = Path(__file__).parents[3] / "model_repository" / "digits"


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A copy of the sample model, to be damaged."""
    return Path(shutil.copytree(DIGITS, tmp_path / "digits"))


def test_the_versions_are_the_numbered_folders(digits: Path) -> None:
    """Folders that Triton would not serve are no versions; every version has a digest of its own."""
    (digits / "01").mkdir()
    (digits / "notes").mkdir()
    folder = read_model_folder(digits)
    assert folder.name == "digits"
    assert sorted(folder.digests) == [1, 2, 3]
    assert len(set(folder.digests.values())) == 3
    assert all(digest.startswith("sha256:") and len(digest) == 71 for digest in folder.digests.values())


def test_the_digest_is_of_paths_and_contents_alone(digits: Path) -> None:
    """Dates, modes and empty folders do not count; a byte, a name or another cut between files does."""
    before = version_files(digits / "1").digest
    os.utime(digits / "1" / "model.onnx", (0, 0))
    (digits / "1" / "model.onnx").chmod(0o600)
    (digits / "1" / "empty").mkdir()
    assert version_files(digits / "1").digest == before
    (digits / "1" / "model.onnx").rename(digits / "1" / "other.onnx")
    assert version_files(digits / "1").digest != before


def test_files_cannot_be_cut_anew_under_one_digest(tmp_path: Path) -> None:
    """Moving bytes from one file's end to the next one's start, or into a name, gives another digest."""
    seen = set()
    for number, files in enumerate(
        [{"a": b"xy", "b": b"z"}, {"a": b"x", "b": b"yz"}, {"a": b"xyb", "bz": b""}]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        seen.add(version_files(folder).digest)
    assert len(seen) == 3


def test_links_and_odd_files_are_refused(digits: Path) -> None:
    """A link or a pipe in a version, or a version that is a link, could change what is served unseen."""
    (digits / "2" / "data").symlink_to("/etc/passwd")
    with pytest.raises(Refused, match="link"):
        read_model_folder(digits)
    (digits / "2" / "data").unlink()
    os.mkfifo(digits / "2" / "pipe")
    with pytest.raises(Refused, match="no plain file"):
        read_model_folder(digits)
    (digits / "2" / "pipe").unlink()
    (digits / "4").symlink_to(digits / "1")
    with pytest.raises(Refused, match="no folder of its own"):
        read_model_folder(digits)


@pytest.mark.parametrize("missing", ["config.pbtxt", "1", "."])
def test_a_folder_that_is_no_model_is_refused(digits: Path, missing: str) -> None:
    """Without a configuration, without versions, or not there at all: refused with what is missing."""
    if missing == "config.pbtxt":
        (digits / missing).unlink()
    elif missing == "1":
        for version in "123":
            shutil.rmtree(digits / version)
    else:
        shutil.rmtree(digits)
    with pytest.raises(Refused, match=r"config\.pbtxt|no version|no folder"):
        read_model_folder(digits)
