"""Callers that keep their connections, to see what happens to them while workers come and go."""

import threading
import time
from typing import NamedTuple, Self

from tests.dataplane.raw import INFER, RawClient, request
from tests.gateway_process import wait_for
from tests.patience import PATIENT_S


class Failure(NamedTuple):
    """A call that was not answered with 200: when (monotonic seconds), which one of its connection, and how."""

    at: float
    nth: int
    how: str


class Callers:
    """So many callers, each with one call after another on one connection until a reply ends it.

    `answered` counts the good replies, `connected` the connections, `failures` the calls that were not answered well.
    A caller that finds nobody listening goes home: that is no failure.
    """

    def __init__(self, address: tuple[str, int], callers: int = 8, pause_s: float = 0.004) -> None:
        self.answered = 0
        self.connected = 0
        self.failures: list[Failure] = []
        self._address = address
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._counting = threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(callers)]

    @property
    def gone_home(self) -> bool:
        """Whether every caller has found nobody listening."""
        return not any(thread.is_alive() for thread in self._threads)

    def go_on(self, calls: int, limit_s: float = PATIENT_S) -> None:
        """Wait for so many more good replies."""
        goal = self.answered + calls
        wait_for(lambda: self.answered >= goal, limit_s, f"{calls} more calls")

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                client = RawClient(self._address, timeout_s=15)
            except ConnectionRefusedError:
                return
            with self._counting:
                self.connected += 1
            with client:
                self._use(client)

    def _use(self, client: RawClient) -> None:
        nth = 0
        while not self._stop.wait(self._pause_s):
            nth += 1
            try:
                client.sock.sendall(request(INFER))
                reply = client.reply()
                how = "" if reply.status == 200 else f"{reply.status} {reply.body[:200]!r}"
            except (OSError, EOFError) as error:
                reply, how = None, repr(error)
            with self._counting:
                if how:
                    self.failures.append(Failure(time.monotonic(), nth, how))
                else:
                    self.answered += 1
            if reply is None or reply.header("Connection") == "close":
                return

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENT_S)
            assert not thread.is_alive(), "a call has not ended"
