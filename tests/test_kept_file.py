"""Files are whole whenever somebody looks."""

import os
from pathlib import Path

import pytest

from gateway.kept_file import PRIVATE, seal, unseal, write_shared, write_whole


def test_what_is_sealed_is_read_back_and_what_is_damaged_is_not() -> None:
    """One byte fewer, another byte, or nothing at all: there is no body then."""
    data = seal(b"a body\nof two lines")
    assert unseal(data) == b"a body\nof two lines"
    for damaged in (data[:-1], data.replace(b"two", b"too"), b"0" + data, data.split(b"\n")[0], b""):
        assert unseal(damaged) is None


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing beside it."""
    path = tmp_path / "kept"
    write_whole(path, b"old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    for write in (write_whole, write_shared):
        with pytest.raises(OSError, match="No space left"):
            write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]


def test_the_mode_is_that_of_a_new_file_whatever_stood_there(tmp_path: Path) -> None:
    """A private file takes the place of an open one; an open one is as open as the process's mask lets files be."""
    mask = os.umask(0o022)
    try:
        write_whole(tmp_path / "told", b"1")
        assert (tmp_path / "told").stat().st_mode & 0o777 == 0o644
        write_whole(tmp_path / "told", b"2", PRIVATE)
        assert (tmp_path / "told").stat().st_mode & 0o777 == 0o600
        write_shared(tmp_path / "folder" / "shared", b"3")
        assert (tmp_path / "folder" / "shared").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(mask)
