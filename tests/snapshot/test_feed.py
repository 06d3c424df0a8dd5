"""How a worker asks its control plane."""

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest

from gateway.snapshot.feed import SnapshotFeed
from gateway.snapshot.store import SnapshotStore


@pytest.mark.parametrize(("url", "reads"), [("http://127.0.0.1:9", False), ("https://127.0.0.1:9", True)])
def test_certificates_are_read_where_they_are_needed(
    url: str, reads: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They cost a worker's start 50 ms; without TLS nobody looks at them, with it nobody is trusted without them."""
    asked: list[str] = []
    original = ssl.create_default_context

    def note(*args: object, **options: object) -> ssl.SSLContext:
        asked.append("read")
        return original(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(ssl, "create_default_context", note)

    async def begin() -> None:
        def never(_: object) -> None:
            raise AssertionError("nobody answers")

        feed = SnapshotFeed(url, "token", "worker", SnapshotStore(tmp_path), never, never, never)  # type: ignore[arg-type]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await feed.run()

    asyncio.run(begin())
    assert bool(asked) == reads
