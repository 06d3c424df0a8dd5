"""One worker's hold on a listening socket that several workers share: who takes the connection that waits.

All workers are woken for a connection, and the first one to ask gets it: left to themselves, one of them would soon
hold most (docs/adr/0009). So a worker that holds more than the others leaves what waits to them for a moment, and
takes it only when nobody has come for it.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Sequence

from gateway.supervisor.shares import ABSENT, Shares

log = logging.getLogger(__name__)

BACKLOG = 2048
HOLD_S = 0.002
_MOST_AT_ONCE = 16
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_EXHAUSTED_S = 1.0


class SharedPort:
    """The sockets (listening, not blocking) and this worker's place among those that share them."""

    def __init__(self, sockets: Sequence[socket.socket], shares: Shares, place: int) -> None:
        self._sockets = list(sockets)
        self._shares = shares
        self._place = place
        self._held = 0
        self._coming: set[asyncio.Task[None]] = set()
        self._holding: dict[socket.socket, asyncio.TimerHandle] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._factory: Callable[[], asyncio.BaseProtocol] | None = None

    @property
    def port(self) -> int:
        """The port that was bound."""
        return int(self._sockets[0].getsockname()[1])

    @property
    def alone(self) -> bool:
        """Whether no other worker accepts."""
        return self._shares.least_beside(self._place) is None

    def filenos(self) -> list[int]:
        """The file descriptors of its sockets."""
        return [sock.fileno() for sock in self._sockets]

    def open(self, loop: asyncio.AbstractEventLoop, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        """Accept from now on."""
        self._loop, self._factory = loop, factory
        self._tell()
        for sock in self._sockets:
            loop.add_reader(sock.fileno(), self._waiting, sock)

    def holds(self, connections: int) -> None:
        """Tell the others that so many connections are open here."""
        self._held = connections
        self._tell()
        if self._holding and not self._has_more():
            for sock in list(self._holding):
                self._look_again(sock)

    def close(self) -> None:
        """Accept no more, once those that wait are taken: perhaps nobody else will."""
        for sock in self._sockets:
            if self._loop is not None:
                self._loop.remove_reader(sock.fileno())
                for _ in range(BACKLOG):
                    if not self._take(sock):
                        break
            sock.close()
        for timer in self._holding.values():
            timer.cancel()
        self._holding.clear()
        self._sockets.clear()
        self._tell()

    async def settled(self) -> None:
        """Wait until what was accepted counts as a connection."""
        await asyncio.gather(*self._coming, return_exceptions=True)

    def _tell(self) -> None:
        open_ = self._loop is not None and self._sockets
        self._shares.tell(self._place, self._held + len(self._coming) if open_ else ABSENT)

    def _waiting(self, sock: socket.socket, extra: int = 0) -> None:
        """Somebody waits. Take what is this worker's share and, where the others have let it lie, `extra` more."""
        for taken in range(_MOST_AT_ONCE):
            if taken >= extra and self._has_more():
                self._hold_back(sock, HOLD_S, min(_MOST_AT_ONCE, 2 * extra or 1))
                return
            if not self._take(sock):
                return

    def _has_more(self) -> bool:
        """Whether another worker holds fewer, by more than one and more than a quarter."""
        least = self._shares.least_beside(self._place)
        return least is not None and self._shares.of(self._place) > least + max(1, least // 4)

    def _hold_back(self, sock: socket.socket, for_s: float, extra: int) -> None:
        """Look away for a moment. Each time that nobody has come meanwhile, twice as much may be taken."""
        assert self._loop is not None
        self._loop.remove_reader(sock.fileno())
        self._holding[sock] = self._loop.call_later(for_s, self._go_on, sock, extra)

    def _go_on(self, sock: socket.socket, extra: int) -> None:
        self._look_again(sock)
        self._waiting(sock, extra)

    def _look_again(self, sock: socket.socket) -> None:
        assert self._loop is not None
        self._holding.pop(sock).cancel()
        self._loop.add_reader(sock.fileno(), self._waiting, sock)

    def _take(self, sock: socket.socket) -> bool:
        """Accept one connection; False when none waits."""
        assert self._loop is not None
        try:
            taken, _ = sock.accept()
        except BlockingIOError:
            return False
        except ConnectionAbortedError:
            return True  # that one has gone again; the next one may be there
        except OSError as error:
            if error.errno in _EXHAUSTED:
                log.error("no connection can be accepted: %s; raise the limit of open files", error.strerror)
                self._hold_back(sock, _EXHAUSTED_S, 0)
            return False
        taken.setblocking(False)
        task = self._loop.create_task(self._connect(taken))
        self._coming.add(task)
        task.add_done_callback(self._came)
        self._tell()
        return True

    async def _connect(self, taken: socket.socket) -> None:
        assert self._loop is not None and self._factory is not None
        try:
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(self._factory, taken)
        except OSError:
            taken.close()  # the caller has gone meanwhile

    def _came(self, task: asyncio.Task[None]) -> None:
        self._coming.discard(task)
        self._tell()
