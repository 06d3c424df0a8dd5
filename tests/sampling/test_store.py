"""Files appear whole or not at all, in a folder and in an object store; faults are named for those who run it."""

import asyncio
import errno
import os
import stat
import threading
from datetime import date
from pathlib import Path

import pytest

from gateway.app.data import open_worker
from gateway.sampling.store import Partition, SampleFile, Store, driver_fault, fault_of, new_part
from gateway.settings import Settings, SettingsError
from gateway.settings.shape import Samples

PARTITION = Partition("digits", 2, date(2026, 11, 24))


@pytest.fixture(params=["folder", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder, and fsspec's own store in memory as a stand-in for an object store."""
    return str(tmp_path / "samples") if request.param == "folder" else f"memory://{tmp_path}"


def test_what_was_put_is_found(url: str) -> None:
    """By alias or all, with what the path says; what lies beside is not ours."""
    store = Store(url)
    assert list(store.files()) == []
    first = new_part(PARTITION, "w")
    second = new_part(Partition("other", 1, date(2026, 11, 23)), "w")
    store.put(first, b"one")
    store.put(second, b"two!")
    store.put("notes.txt", b"not ours")
    assert list(store.files()) == [
        SampleFile(first, PARTITION, 3),
        SampleFile(second, Partition("other", 1, date(2026, 11, 23)), 4),
    ]
    assert [file.path for file in store.files("digits")] == [first]
    assert store.get(first) == b"one"
    store.put(first, b"another")
    assert store.get(first) == b"another"
    store.remove(first)
    store.remove(first)
    assert [file.path for file in store.files()] == [second]


def test_a_folder_shows_whole_files_only(tmp_path: Path) -> None:
    """While a file is written again and again, whoever looks sees one of its whole contents."""
    store = Store(str(tmp_path))
    path = new_part(PARTITION, "w")
    contents = [bytes([number]) * 200_000 for number in range(2)]
    store.put(path, contents[0])
    leave = threading.Event()

    def write() -> None:
        while not leave.is_set():
            for content in contents:
                store.put(path, content)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(200):
            assert (tmp_path / path).read_bytes() in contents
            assert [file.size_bytes for file in store.files()] == [200_000]
    finally:
        leave.set()
        thread.join()
    assert [name for _, _, names in os.walk(tmp_path) for name in names] == [Path(path).name]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither half a file nor the one that it was written as."""
    store = Store(str(tmp_path))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        store.put(new_part(PARTITION, "w"), b"data")
    assert [name for _, _, names in os.walk(tmp_path) for name in names] == []


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    """Once it is old enough to be nobody's any more."""
    store = Store(str(tmp_path))
    path = new_part(PARTITION, "w")
    store.put(path, b"whole")
    folder = (tmp_path / path).parent
    old, fresh = folder / ".part-old.parquet.0", folder / ".part-fresh.parquet.0"
    for each in (old, fresh):
        each.write_bytes(b"half")
    os.utime(old, (0, 0))
    store.sweep()
    assert sorted(each.name for each in folder.iterdir()) == [fresh.name, Path(path).name]


def test_empty_folders_go_with_their_last_file(tmp_path: Path) -> None:
    """A partition that is over leaves nothing behind."""
    store = Store(str(tmp_path / "samples"))
    path = new_part(PARTITION, "w")
    store.put(path, b"x")
    store.remove(path)
    assert list(tmp_path.rglob("alias=*")) == []


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (OSError(errno.ENOSPC, ""), "disk_full"),
        (OSError(errno.EDQUOT, ""), "disk_full"),
        (OSError(errno.EROFS, ""), "read_only"),
        (PermissionError(errno.EACCES, ""), "read_only"),
        (NotADirectoryError(errno.ENOTDIR, ""), "gone"),
        (FileNotFoundError("no bucket"), "gone"),
        (OSError(errno.EIO, ""), "gone"),
        (TimeoutError(), "slow"),
        (ImportError("s3fs"), "failed"),
        (RuntimeError("of a driver"), "failed"),
    ],
)
def test_faults_are_named(error: BaseException, fault: str) -> None:
    """Metrics tell a full disk from one that is gone."""
    assert fault_of(error) == fault


def test_two_workers_never_write_the_same_file() -> None:
    """Names are drawn, not counted."""
    assert len({new_part(PARTITION, "w") for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("folder", "mask", "file", "inner"),
    [
        (None, 0o022, 0o600, 0o700),
        (0o750, 0o022, 0o640, 0o750),
        (0o2770, 0o002, 0o640, 0o770),
        (0o755, 0o077, 0o600, 0o700),
    ],
)
def test_who_may_read_the_folder_may_read_the_samples(
    tmp_path: Path, folder: int | None, mask: int, file: int, inner: int
) -> None:
    """A folder that the store makes is its owner's alone; in one that was opened to a group, that group reads, and writes
    nothing; what the process's mask forbids nobody gets."""
    root = tmp_path / "samples"
    if folder is not None:
        root.mkdir()
        root.chmod(folder)
    path = new_part(PARTITION, "w")
    before = os.umask(mask)
    try:
        Store(str(root)).put(path, b"one")
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / path).stat().st_mode) == file
    assert stat.S_IMODE(root.stat().st_mode) == (0o700 if folder is None else folder)
    for parent in (root / path).relative_to(root).parents[:-1]:
        assert stat.S_IMODE((root / parent).stat().st_mode) & 0o777 == inner


@pytest.mark.parametrize("url", ["/srv/samples", "samples", "file:///srv/samples", "memory://samples"])
def test_stores_that_can_be_opened_have_no_fault(url: str) -> None:
    """A folder, and what fsspec brings along."""
    assert driver_fault(url) is None


def test_stores_that_nothing_opens_are_told_apart() -> None:
    """A kind that there is none of, with those that there are; and one whose driver is missing, with what to install."""
    unknown = driver_fault("nosuch://b/x") or ""
    assert unknown.startswith(
        "there is no store nosuch://; write a folder, or a URL that begins with one of "
    )
    usable, others = (text.split(", ") for text in unknown.split(", or with its driver installed "))
    assert "memory" in usable
    assert "s3" in others
    assert "s3fs" in (driver_fault("s3://bucket/samples") or "")


def test_a_gateway_does_not_start_with_a_store_that_nothing_opens(tmp_path: Path) -> None:
    """Samples would be dropped from the first on, and the log alone would tell."""

    async def start() -> None:
        settings = Settings(data_dir=tmp_path, samples=Samples(url="nosuch://b/x"))
        open_worker(settings, b"of a test, and long enough for a secret", 0)

    with pytest.raises(SettingsError) as refused:
        asyncio.run(start())
    assert refused.value.problems[0].startswith("samples.url: there is no store nosuch://")
