"""An upstream with a fixed number of slots: so many inferences at a time, the rest in turn.

`python -m loadtests.slots PORT SLOTS MILLISECONDS SPREAD`: how long one takes is log-normal with this median; `SPREAD` is
the standard deviation of the logarithm.
"""

import asyncio
import random
import sys
from collections import deque
from typing import ClassVar

import uvloop

from loadtests.drain import Drain

_INFER = b"/infer"


class Slots(Drain):
    """One connection. All share the slots; what is not an inference is answered at once."""

    free: ClassVar[int]
    service_s: ClassVar[float]
    spread: ClassVar[float]
    waiting: ClassVar["deque[Slots]"] = deque()

    def _answer(self) -> None:
        if not self._path.endswith(_INFER):
            super()._answer()
        elif Slots.free:
            Slots.free -= 1
            self._serve()
        else:
            Slots.waiting.append(self)

    def _serve(self) -> None:
        asyncio.get_running_loop().call_later(
            Slots.service_s * random.lognormvariate(0.0, Slots.spread), self._done
        )

    def _done(self) -> None:
        if not self._transport.is_closing():
            super()._answer()
        # Nobody waits any more for the answer to a call whose connection has been closed.
        while Slots.waiting:
            following = Slots.waiting.popleft()
            if not following._transport.is_closing():
                following._serve()
                return
        Slots.free += 1


async def serve(port: int, slots: int, service_s: float, spread: float) -> None:
    """Answer on 127.0.0.1 until cancelled."""
    Slots.free, Slots.service_s, Slots.spread = slots, service_s, spread
    server = await asyncio.get_running_loop().create_server(Slots, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000, float(sys.argv[4])))
