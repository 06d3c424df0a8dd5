"""A worker whose event loop stands still."""

import asyncio
import sys
from pathlib import Path

import pytest

from gateway.settings import Settings
from gateway.supervisor import supervisor as supervision
from gateway.supervisor.child import Child
from gateway.supervisor.ports import bind
from gateway.supervisor.supervisor import Supervisor
from tests.patience import PATIENT_S

pytestmark = pytest.mark.slow

# Number 0 hangs soon after it is ready; the other one goes on.
WORKER = """
import asyncio, sys, time
from gateway.supervisor.member import Member

async def work(member):
    gone = asyncio.get_running_loop().create_future()
    line = asyncio.create_task(member.run(lambda: True, lambda: None, lambda how: gone.set_result(how)))
    await asyncio.sleep(0.3)
    if member.begin.number == 0:
        time.sleep(60)
    await gone

asyncio.run(work(Member(int(sys.argv[1]))))
"""


def test_a_worker_that_hangs_for_long_is_killed_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again and again if need be; the others are left alone. The time is cut short here from half a minute."""
    monkeypatch.setattr(supervision, "_HUNG_S", 5.0)

    async def story() -> None:
        with bind("127.0.0.1", 0, "inference.port")[0] as sock:
            sock.listen()
            settings = Settings(data_dir=tmp_path, workers=2)
            supervisor = Supervisor(settings, b"secret", [sys.executable, "-c", WORKER], [sock])
            await supervisor.start()
            hanging, well = supervisor.seats
            first = [hanging.current, well.current]
            seen: set[Child | None] = set()
            async with asyncio.timeout(2 * PATIENT_S):
                while len(seen) < 3:
                    seen.add(hanging.current)
                    await asyncio.sleep(0.1)
            assert all(
                child.ended.result() == -9 for child in seen if child is not None and child.ended.done()
            )
            assert well.current is first[1]
            assert well.at_work is not None
            assert "worker 0 has ended" in hanging.trouble
            for child in supervisor.children:
                child.kill()
            await supervisor.stop(0.0)

    asyncio.run(story())
