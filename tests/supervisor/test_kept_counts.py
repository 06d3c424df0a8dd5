"""What a worker has counted is not lost with it, also when nobody had looked."""

import asyncio
import sys
from pathlib import Path

import pytest

from gateway.settings import Settings
from gateway.supervisor.ports import bind
from gateway.supervisor.supervisor import Supervisor
from tests.patience import PATIENT_S

pytestmark = pytest.mark.slow

WORKER = """
import asyncio, os, sys
from gateway.observe.metrics import ACCESS_LOG_DROPPED
from gateway.supervisor.member import Member

async def work(member):
    ACCESS_LOG_DROPPED.labels(f'by-{os.getpid()}').inc(3)
    await member.run(lambda: True, lambda: None, lambda how: sys.exit(0))

asyncio.run(work(Member(int(sys.argv[1]))))
"""


def test_a_killed_workers_counts_go_on(tmp_path: Path) -> None:
    """It tells them by itself, so that what it had counted a little before stands, with no scrape between."""

    async def story() -> tuple[list[int], str]:
        with bind("127.0.0.1", 0, "inference.port")[0] as sock:
            sock.listen()
            settings = Settings(data_dir=tmp_path, workers=2)
            supervisor = Supervisor(settings, b"secret", [sys.executable, "-c", WORKER], [sock])
            await supervisor.start()
            killed = [child.pid for child in supervisor.children]
            for child in list(supervisor.children):
                async with asyncio.timeout(PATIENT_S):
                    while not child.metrics:
                        await asyncio.sleep(0.05)
                child.kill()
                await asyncio.wait([child.ended])
            page, _ = await asyncio.to_thread(supervisor.scrape.page)
            await supervisor.stop(0.0)
            return killed, page.decode()

    killed, page = asyncio.run(story())
    for pid in killed:
        assert f'maas_access_log_dropped_total{{reason="by-{pid}"}} 3.0\n' in page
