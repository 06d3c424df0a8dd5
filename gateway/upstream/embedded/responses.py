"""The responses of one request, from the model that sends them to the one who reads them."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self


class Responses(Iterator[Any]):
    """An iterator that waits for each response: `put` from any thread, read from one at a time.

    Nothing bounds how many wait to be read, as in Triton: a model stops by itself, or when it sees `cancelled`.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._unread = 0
        self._ended = False
        self._waiting: Callable[[], None] | None = None
        self.cancelled = False

    def put(self, response: Any) -> None:
        """One more response; None ends them, and what comes after the end is dropped."""
        with self._lock:
            if self._ended:
                return
            self._ended = response is None
            self._queue.put(response)
            self._unread += 1
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
        self.put(None)

    def __next__(self) -> Any:
        with self._lock:
            if self._ended and not self._unread:
                raise StopIteration
        response = self._queue.get()
        with self._lock:
            self._unread -= 1
        if response is None:
            raise StopIteration
        return response

    def __iter__(self) -> Self:
        return self
