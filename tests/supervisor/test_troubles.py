"""Workers that cannot start, at first or later on."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.dataplane.raw import ask, request
from tests.dataplane.upstream import Upstream
from tests.gateway_process import Gateway, document, running, wait_for
from tests.supervisor.conftest import Host

pytestmark = pytest.mark.slow


def test_a_worker_that_dies_at_once_again_and_again_is_started_less_and_less_often(
    upstream: Upstream, tmp_path: Path
) -> None:
    """The others serve on; the log, the metrics and the health say so; once it can start again, it does."""
    models, hidden = tmp_path / "models", tmp_path / "hidden"
    models.mkdir()
    with running(tmp_path, document(upstream.url), WORKERS=2, EMBEDDED__MODEL_REPOSITORY=models) as gateway:
        host = Host(gateway, upstream)
        host.until_all_ready()
        models.rename(hidden)
        first = gateway.workers()
        os.kill(first[1], signal.SIGKILL)
        wait_for(lambda: "the next start is in 1 s" in gateway.log, 20, "the second pause")
        status, text = host.health()
        assert status == 200
        assert "1 of 2 workers ready" in text
        assert "worker 1 has ended" in text
        assert "embedded.model_repository" in gateway.log
        assert ask(host.address, request()).status == 200
        wait_for(lambda: host.metrics()['maas_workers{state="restarting"}'] == 1, what="the next pause")
        hidden.rename(models)
        wait_for(lambda: "2 of 2 workers ready" in host.health()[1], 20, "the worker to be back")
        assert gateway.workers()[0] == first[0]
        gateway.signal(signal.SIGTERM)
        assert gateway.wait(15) == 0
        host.close()


def test_a_rolling_restart_ends_where_a_new_worker_does_not_come_up(
    upstream: Upstream, tmp_path: Path
) -> None:
    """The old workers stay, and serve."""
    models = tmp_path / "models"
    models.mkdir()
    with running(tmp_path, document(upstream.url), WORKERS=2, EMBEDDED__MODEL_REPOSITORY=models) as gateway:
        host = Host(gateway, upstream)
        host.until_all_ready()
        before = gateway.workers()
        shutil.rmtree(models)
        gateway.signal(signal.SIGHUP)
        wait_for(lambda: "the rolling restart ends at worker 0" in gateway.log, 20, "the end of it")
        host.until_all_ready()
        assert gateway.workers() == before
        assert ask(host.address, request()).status == 200
        host.close()


def test_workers_that_cannot_start_at_all_end_the_gateway(upstream: Upstream, tmp_path: Path) -> None:
    """As with one worker: status 1, and why, once."""
    gateway = Gateway(
        tmp_path, document(upstream.url), WORKERS=3, EMBEDDED__MODEL_REPOSITORY=tmp_path / "nothing"
    )
    with pytest.raises(AssertionError, match="ended with 1"):
        gateway.start()
    assert gateway.log.count("maas: embedded.model_repository: ") == 1
