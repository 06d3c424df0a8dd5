"""The responses of one request, from the model that sends them to the one who reads them."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self

MOST_UNREAD_BYTES = 16 * 2**20
"""A model that has sent so much that nobody has read yet waits before it sends more."""


class Sent(NamedTuple):
    """One sending of a model: a response, or None where it says no more than that there are no more; and whether it is the final one."""

    response: Any
    final: bool
    size_bytes: int = 0


class Responses(Iterator[Sent]):
    """An iterator that waits for each response: `put` from any thread, read from one at a time.

    Who sends waits for room first (`wait_for_room`), so that a caller who reads slowly fills no memory.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Sent] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._unread = self._unread_bytes = 0
        self._ended = False
        self._waiting: Callable[[], None] | None = None
        self.cancelled = False

    def wait_for_room(self) -> None:
        """Wait until enough of what was sent is read, or nothing more is wanted."""
        with self._room:
            self._room.wait_for(lambda: self._ended or self._unread_bytes < MOST_UNREAD_BYTES)

    def put(self, response: Any, *, final: bool = False, size_bytes: int = 0) -> None:
        """One more response, or None for the end alone; what comes after the final one is dropped."""
        with self._lock:
            if self._ended:
                return
            self._ended = final
            if final:
                self._room.notify_all()
            self._queue.put(Sent(response, final, size_bytes))
            self._unread += 1
            self._unread_bytes += size_bytes
            waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting()

    def when_ready(self, call: Callable[[], None]) -> None:
        """Have `call` called once, from whichever thread, when `next` need not wait: at once, where that is now."""
        with self._lock:
            if not self._unread and not self._ended:
                self._waiting = call
                return
        call()

    def cancel(self) -> None:
        """Nobody reads on: the model is told, and a reader that waits finds the end."""
        self.cancelled = True
        self.put(None, final=True)

    def __next__(self) -> Sent:
        with self._lock:
            if self._ended and not self._unread:
                raise StopIteration
        sent = self._queue.get()
        with self._lock:
            self._unread -= 1
            self._unread_bytes -= sent.size_bytes
            self._room.notify_all()
        if sent.response is None and self.cancelled:
            raise StopIteration  # it is the end of the reading, and none that the model said
        return sent

    def __iter__(self) -> Self:
        return self


class Asker:
    """Who waits for the answer to one request. Once they have `left`, the model is told, and may stop computing for nobody."""

    def __init__(self) -> None:
        self.left = False
        self._lock = threading.Lock()
        self._told: list[Responses] = []

    def tell(self, responses: Responses) -> None:
        """Have these cancelled when the asker leaves: at once, where that was before."""
        with self._lock:
            if not self.left:
                self._told.append(responses)
                return
        responses.cancel()

    def leave(self) -> None:
        """Nobody waits any more. Harmless where all is answered."""
        with self._lock:
            self.left = True
            told, self._told = self._told, []
        for responses in told:
            responses.cancel()
