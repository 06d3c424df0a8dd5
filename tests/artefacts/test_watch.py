"""Files on disk against registered digests: what is flagged, and that contents are read only where something moved."""

import os
from pathlib import Path

import pytest

from gateway.artefacts import watch
from gateway.artefacts.files import version_files
from gateway.artefacts.watch import FilesWatch


def version(repository: Path, number: int, content: bytes = b"weights") -> str:
    folder = repository / "m" / str(number)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(content)
    return version_files(folder).digest


def test_a_changed_file_is_flagged_until_it_is_put_back(tmp_path: Path) -> None:
    """Other bytes of the same length and with the same date too; the other versions are left alone."""
    registered = {("m", number): version(tmp_path, number, bytes([number])) for number in (1, 2)}
    watched = FilesWatch(tmp_path)
    assert watched.changed(registered) == {}
    file = tmp_path / "m" / "2" / "model.onnx"
    seen = file.stat()
    file.write_bytes(b"\xff")
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert list(watched.changed(registered)) == [("m", 2)]
    assert list(watched.changed(registered)) == [("m", 2)]
    file.write_bytes(bytes([2]))
    assert watched.changed(registered) == {}


def test_contents_are_read_only_where_something_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dates and sizes are enough to see that nothing did; a date alone is no change."""
    registered = {("m", 1): version(tmp_path, 1)}
    reads = []

    def counted(folder: Path) -> object:
        reads.append(folder)
        return version_files(folder)

    monkeypatch.setattr(watch, "version_files", counted)
    watched = FilesWatch(tmp_path)
    for _ in range(3):
        assert watched.changed(registered) == {}
    assert len(reads) == 1
    (tmp_path / "m" / "1" / "model.onnx").touch()
    assert watched.changed(registered) == {}
    assert len(reads) == 2


def test_a_new_file_a_link_and_a_lost_one_are_changes(tmp_path: Path) -> None:
    """A version without a folder is none: that it is missing is told where it is served."""
    registered = {("m", 1): version(tmp_path, 1)}
    watched = FilesWatch(tmp_path)
    extra = tmp_path / "m" / "1" / "extra"
    extra.write_bytes(b"")
    assert ("m", 1) in watched.changed(registered)
    extra.unlink()
    extra.symlink_to("/etc/hostname")
    assert "cannot be read" in watched.changed(registered)["m", 1]
    extra.unlink()
    assert watched.changed(registered) == {}
    (tmp_path / "m" / "1" / "model.onnx").unlink()
    assert ("m", 1) in watched.changed(registered)
    (tmp_path / "m" / "1").rmdir()
    assert watched.changed(registered) == {}
