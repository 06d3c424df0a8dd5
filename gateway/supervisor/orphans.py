"""Workers whose supervisor is gone: they serve on, and hand their port to the next supervisor, which sends them away."""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gateway.supervisor.messages import Leave, framed, hear, to_worker
from gateway.supervisor.ports import bind

log = logging.getLogger(__name__)

_FOLDER = "orphans"
_MOST_SOCKETS = 16
_FREE_S = 5.0
_LOOK_S = 0.05
_ANSWER_S = 1.0
"""An orphan that hands nothing over within so long hangs: what it is told it hears when it goes on."""


async def until_taken_over(data_dir: Path, sockets: Sequence[socket.socket], limit_s: float) -> Leave | None:
    """Offer the listening `sockets` to the next supervisor that serves from `data_dir`, and wait for its word to leave.

    None when none has come within `limit_s` seconds, or none can be waited for. One that has come and goes again without
    a word begins the time anew.
    """
    loop = asyncio.get_running_loop()
    name = str(os.getpid())
    folder = data_dir / _FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        with socket.socket(socket.AF_UNIX) as waiting:
            with _short(folder) as short:
                waiting.bind(f"{short}/{name}")
            waiting.listen()
            waiting.setblocking(False)
            while True:
                async with asyncio.timeout(limit_s):
                    line, _ = await loop.sock_accept(waiting)
                with line:
                    socket.send_fds(line, [b"\0"], [sock.fileno() for sock in sockets])
                    reader, writer = await asyncio.open_unix_connection(sock=line)
                    word = await hear(reader, to_worker)
                    writer.close()
                if isinstance(word, Leave):
                    return word
    except TimeoutError:
        log.warning("no supervisor has come within %g s", limit_s)
    except OSError as error:
        log.error("no supervisor can be waited for: %s", error)
    finally:
        (folder / name).unlink(missing_ok=True)
    return None


class Orphans:
    """The orphans that were found, each with a line to it. `sockets`: their listening sockets.

    They serve on until they are told to leave, also when this process ends without a word.
    """

    def __init__(self, data_dir: Path) -> None:
        self.sockets: list[socket.socket] = []
        self._lines: list[socket.socket] = []
        folder = data_dir / _FOLDER
        if not folder.is_dir():
            return
        with _short(folder) as short:
            for path in sorted(folder.iterdir()):
                line = socket.socket(socket.AF_UNIX)
                line.settimeout(_ANSWER_S)
                try:
                    line.connect(f"{short}/{path.name}")
                except OSError:
                    line.close()
                    path.unlink(missing_ok=True)  # that one has ended without tidying up
                    continue
                self._lines.append(line)
                self._take(line)

    def __len__(self) -> int:
        return len(self._lines)

    def leave(self, notice_s: float, *, handing_over: bool) -> None:
        """Have them drain and end."""
        for line in self._lines:
            with contextlib.suppress(OSError):
                line.sendall(framed(Leave(notice_s, handing_over)))
            line.close()
        self._lines.clear()

    def free(self, host: str, ports: Mapping[str, int]) -> None:
        """Have them leave the ports, by their settings, to one who cannot share them, at once. Raises `OSError` when they do not get free."""
        self.leave(0.0, handing_over=True)
        self.close()
        until = time.monotonic() + _FREE_S
        while True:
            try:
                for setting, port in ports.items():
                    for sock in bind(host, port, setting):
                        sock.close()
                return
            except OSError:
                if time.monotonic() > until:
                    raise
            time.sleep(_LOOK_S)

    def close(self, but: Sequence[socket.socket] = ()) -> None:
        """Let go of the sockets."""
        for sock in self.sockets:
            if sock not in but:
                sock.close()
        self.sockets = []

    def _take(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError):
            _, numbers, _, _ = socket.recv_fds(line, 1, _MOST_SOCKETS)
            found = [socket.socket(fileno=number) for number in numbers]
            if self.sockets:
                for sock in found:
                    sock.close()  # all of them share the same
            else:
                self.sockets = found


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A name of the folder for addresses of sockets, which hold about a hundred characters (unix(7))."""
    number = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{number}"
    finally:
        os.close(number)
