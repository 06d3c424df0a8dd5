"""Samples of a real gateway process: what is kept, what is not, and that they hurt nobody."""

import gzip
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from gateway.snapshot.document import MaskRule
from tests.dataplane.upstream import Talk, Upstream
from tests.gateway_process import Gateway, running, wait_for
from tests.sampling.scene import metric, model, parts, reply, request, rows, sampled, tensor

pytestmark = pytest.mark.slow

Caller = Callable[[Gateway], httpx.Client]

QUICK = {"SAMPLES__FILE_S": "0.3"}
INFER = "/v2/models/a/infer"
IMAGE = tensor("image", "FP32", 1.5, 2.0)


def ready(gateway: Gateway, client: httpx.Client, folder: Path) -> None:
    """Wait until the gateway samples: it has asked the model's server for its tensors."""
    wait_for(lambda: client.post(INFER, content=request(IMAGE)).status_code == 200, 20, "the endpoint")

    def taken() -> bool:
        client.post(INFER, content=request(IMAGE))
        return metric(gateway, "maas_samples_taken_total") > 0

    wait_for(taken, 20, "the first sample")
    wait_for(lambda: rows(folder), 20, "the first file")


def test_a_sample_tells_what_was_asked_and_answered(
    upstream: Upstream, caller: Caller, tmp_path: Path
) -> None:
    """Tensors, target, outcome and times of each call, joined by its request id; only of aliases that are sampled."""
    with running(tmp_path, sampled(upstream.url, aliases=("a",)), **QUICK) as gateway:
        client = caller(gateway)
        folder = tmp_path / "samples"
        ready(gateway, client, folder)
        sent = client.post(
            INFER,
            content=request(IMAGE, tensor("text", "BYTES", "words")),
            headers={"X-Request-Id": "call-1"},
        )
        client.post("/v2/models/split/infer", content=request(IMAGE), headers={"X-Request-Id": "call-2"})
        assert client.get("/v2/models/a").status_code == 200
        wait_for(lambda: "call-1" in {row["request_id"] for row in rows(folder)}, 20, "the sample")
        found = {row["request_id"]: row for row in rows(folder)}
        assert "call-2" not in found
        row = found["call-1"]
        assert (row["alias"], row["model"], row["version"], row["arm"]) == ("a", "m", 1, "stable")
        assert (row["operation"], row["outcome"], row["status"], row["inclusion"]) == (
            "infer",
            "ok",
            200,
            1.0,
        )
        assert abs(row["received_at"] - time.time()) < 60
        assert 0 < row["upstream_s"] <= row["duration_s"] < 30
        assert row["reply_bytes"] == len(sent.content)
        image, text = row["inputs"]
        assert (image["name"], image["values"], image["shape"]) == ("image", [1.5, 2.0], [1, 2])
        assert (text["name"], text["texts"], text["lengths"]) == ("text", None, [5])
        assert row["outputs"][0]["values"] == [0.25, 0.75]
        # A metadata call is no inference.
        assert {row["operation"] for row in rows(folder)} == {"infer"}


def test_failures_are_sampled_too(upstream: Upstream, caller: Caller, tmp_path: Path) -> None:
    """With their outcome, and without the text that a server's error may quote."""
    with running(tmp_path, sampled(upstream.url), **QUICK) as gateway:
        client = caller(gateway)
        folder = tmp_path / "samples"
        ready(gateway, client, folder)
        upstream.behave = model(b'{"error":"no user Rumpelstilz"}', 400)
        assert (
            client.post(INFER, content=request(IMAGE), headers={"X-Request-Id": "refused"}).status_code == 400
        )
        upstream.behave = Talk.reset
        assert (
            client.post(INFER, content=request(IMAGE), headers={"X-Request-Id": "broken"}).status_code == 502
        )
        wait_for(
            lambda: {"refused", "broken"} <= {row["request_id"] for row in rows(folder)}, 20, "the samples"
        )
        found = {row["request_id"]: row for row in rows(folder)}
        assert (found["refused"]["outcome"], found["refused"]["status"]) == ("model_refused", 400)
        assert (found["refused"]["outputs"], found["refused"]["reply_json"]) == ([], None)
        assert (found["broken"]["outcome"], found["broken"]["outputs_missing"]) == (
            "bad_gateway",
            "incomplete",
        )
        assert found["broken"]["inputs"][0]["values"] == [1.5, 2.0]


def test_bodies_of_every_framing_are_noted_and_pass_untouched(
    upstream: Upstream, caller: Caller, tmp_path: Path
) -> None:
    """Small and whole, large and streamed, chunked, compressed: the model's server gets the very bytes, and so does the
    sample; what is larger than a sample may be leaves one without it.
    """
    big = request(tensor("image", "FP32", *range(35_000)))
    huge = request(tensor("image", "FP32", *range(100_000)))
    answer = reply(tensor("score", "FP32", *range(30_000)))
    bodies: dict[str, tuple[bytes, dict[str, str], object]] = {
        "small": (request(IMAGE), {}, request(IMAGE)),
        "big": (big, {}, big),
        "chunked": (big, {}, iter([big[:10], big[10:90_000], big[90_000:]])),
        "gzip": (gzip.compress(big), {"Content-Encoding": "gzip"}, gzip.compress(big)),
        "huge": (huge, {}, huge),
    }
    assert len(big) < 256 * 1024 < len(huge)
    with running(tmp_path, sampled(upstream.url), **QUICK) as gateway:
        client = caller(gateway)
        folder = tmp_path / "samples"
        ready(gateway, client, folder)
        upstream.behave = model(answer)
        for name, (body, headers, content) in bodies.items():
            upstream.talks.clear()
            got = client.post(INFER, content=content, headers=headers | {"X-Request-Id": name})  # type: ignore[arg-type]
            assert got.content == answer
            assert upstream.talks[-1].body == body
        wait_for(lambda: set(bodies) <= {row["request_id"] for row in rows(folder)}, 20, "the samples")
        found = {row["request_id"]: row for row in rows(folder)}
        for name in ("big", "chunked", "gzip"):
            assert found[name]["inputs"][0]["values"] == list(range(35_000)), name
            assert found[name]["outputs"][0]["values"] == list(range(30_000)), name
        assert (found["huge"]["inputs"], found["huge"]["inputs_missing"]) == (None, "too_large")
        assert found["huge"]["outputs"][0]["values"][-1] == 29_999
        assert metric(gateway, 'maas_samples_bare_total{part="request",reason="too_large"}') == 1


def test_a_rule_that_names_no_tensor_keeps_everything_out(
    upstream: Upstream, caller: Caller, tmp_path: Path
) -> None:
    """A slip in a rule would let through what it was to mask: nothing of that alias is kept, and the metric says why."""
    found = sampled(upstream.url, MaskRule("drop", tensor="imge"), aliases=("a",))
    with running(tmp_path, found, **QUICK) as gateway:
        client = caller(gateway)
        wait_for(lambda: client.post(INFER, content=request(IMAGE)).status_code == 200, 20, "the endpoint")

        def dropped() -> bool:
            client.post(INFER, content=request(IMAGE))
            return metric(gateway, 'maas_samples_dropped_total{reason="mask_names_no_tensor"}') > 2

        wait_for(dropped, 20, "the drops")
        gateway.signal(signal.SIGTERM)
        gateway.wait(20)
        assert not parts(tmp_path)


def test_the_end_of_the_process_writes_what_waits(upstream: Upstream, caller: Caller, tmp_path: Path) -> None:
    """Samples that were not due yet are there after SIGTERM."""
    with running(tmp_path, sampled(upstream.url), SAMPLES__FILE_S="3600") as gateway:
        client = caller(gateway)
        wait_for(lambda: client.post(INFER, content=request(IMAGE)).status_code == 200, 20, "the endpoint")

        def taken() -> bool:
            client.post(INFER, content=request(IMAGE))
            return metric(gateway, "maas_samples_taken_total") >= 5

        wait_for(taken, 20, "samples")
        assert not parts(tmp_path)
        gateway.signal(signal.SIGTERM)
        assert gateway.wait(20) == 0
        assert len(rows(tmp_path / "samples")) >= 5


def _replies_hold(client: httpx.Client, calls: int, body: bytes) -> None:
    """So many calls are answered as if there were no samples."""
    answer = reply(tensor("score", "FP32", 0.25, 0.75))
    for _ in range(calls):
        got = client.post(INFER, content=body)
        assert (got.status_code, got.content) == (200, answer)


def test_a_full_disk_costs_samples_and_no_reply(
    upstream: Upstream, caller: Caller, tmp_path: Path, small_disk: Path
) -> None:
    """On a file system of one MiB: every call is answered, what fits is there whole, the rest is dropped by its reason and
    memory stays bounded; with room again, samples are written again.
    """
    import random

    source = random.Random(5)
    noise = request(tensor("image", "FP32", *(source.random() for _ in range(4_000))))
    settings = {"SAMPLES__URL": str(small_disk / "samples"), "SAMPLES__QUEUE_ROWS": "40", **QUICK}
    with running(tmp_path, sampled(upstream.url), **settings) as gateway:
        client = caller(gateway)
        ready(gateway, client, small_disk / "samples")

        def full() -> bool:
            _replies_hold(client, 20, noise)
            return metric(gateway, 'maas_samples_dropped_total{reason="sink_disk_full"}') > 20

        wait_for(full, 60, "the disk to be full")
        assert metric(gateway, 'maas_sample_writes_failed_total{reason="disk_full"}') > 0
        assert metric(gateway, "maas_samples_waiting ") <= 40
        whole = rows(small_disk / "samples")
        assert whole
        assert "samples cannot be written (disk_full)" in gateway.log
        for path in parts(small_disk):
            path.unlink()
        wait_for(lambda: len(rows(small_disk / "samples")) > 0, 60, "samples again")
        _replies_hold(client, 5, noise)


def test_a_folder_that_cannot_be_written_costs_samples_and_no_reply(
    upstream: Upstream, caller: Caller, tmp_path: Path, small_disk: Path
) -> None:
    """A file system that turns read-only under a running gateway, and back."""
    settings = {"SAMPLES__URL": str(small_disk / "samples"), "SAMPLES__QUEUE_ROWS": "10", **QUICK}
    with running(tmp_path, sampled(upstream.url), **settings) as gateway:
        client = caller(gateway)
        ready(gateway, client, small_disk / "samples")
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)

        def dropped() -> bool:
            _replies_hold(client, 20, request(IMAGE))
            return metric(gateway, 'maas_samples_dropped_total{reason="sink_read_only"}') > 0

        wait_for(dropped, 60, "drops")
        before = metric(gateway, "maas_samples_written_total")
        subprocess.run(["mount", "-o", "remount,rw,size=1m", small_disk], check=True)
        wait_for(lambda: metric(gateway, "maas_samples_written_total") > before, 60, "samples again")


def test_a_stopped_store_costs_samples_and_no_reply(
    upstream: Upstream, caller: Caller, tmp_path: Path
) -> None:
    """A server that takes connections and says nothing: samples wait, are dropped by that reason, callers see nothing of it,
    and the process ends in time.
    """
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ftp://127.0.0.1:{silent.getsockname()[1]}/samples"
        settings = {"SAMPLES__URL": url, "SAMPLES__QUEUE_ROWS": "10", "SAMPLES__STOP_LIMIT_S": "0.5", **QUICK}
        with running(tmp_path, sampled(upstream.url), **settings) as gateway:
            client = caller(gateway)
            wait_for(
                lambda: client.post(INFER, content=request(IMAGE)).status_code == 200, 20, "the endpoint"
            )

            def dropped() -> bool:
                _replies_hold(client, 20, request(IMAGE))
                return metric(gateway, 'maas_samples_dropped_total{reason="sink_slow"}') > 20

            wait_for(dropped, 60, "drops")
            assert metric(gateway, "maas_samples_waiting ") <= 10
            gateway.signal(signal.SIGTERM)
            assert gateway.wait(20) == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_costs_samples_and_no_reply(
    upstream: Upstream, caller: Caller, tmp_path: Path
) -> None:
    """The folder of the samples belongs to somebody else."""
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o555)
    with running(tmp_path, sampled(upstream.url), SAMPLES__URL=str(folder / "samples"), **QUICK) as gateway:
        client = caller(gateway)

        def failed() -> bool:
            client.post(INFER, content=request(IMAGE))
            return metric(gateway, 'maas_sample_writes_failed_total{reason="read_only"}') > 0

        wait_for(failed, 30, "a failed write")
        _replies_hold(client, 20, request(IMAGE))


def test_memory_stays_bounded_whatever_is_sampled(upstream: Upstream, caller: Caller, tmp_path: Path) -> None:
    """Large bodies, all of them chosen, and nowhere to put them: the process grows by its queue and not by what passes."""
    (tmp_path / "samples").write_text("in the way")
    found = sampled(upstream.url)
    settings = {"SAMPLES__QUEUE_BYTES": str(8 * 1024 * 1024), "SAMPLES__MAX_BYTES": str(1024 * 1024), **QUICK}
    body = request(tensor("image", "FP32", *range(60_000)))
    with running(tmp_path, found, **settings) as gateway:
        client = caller(gateway)

        def warm() -> bool:
            _replies_hold(client, 1, request(IMAGE))
            return metric(gateway, "maas_sample_writes_failed_total") > 0

        wait_for(lambda: client.post(INFER, content=request(IMAGE)).status_code == 200, 20, "the endpoint")
        wait_for(warm, 30, "numpy and pyarrow to be loaded")
        with gateway.memory_growth() as growth:
            _replies_hold(client, 300, body)
            assert metric(gateway, "maas_samples_dropped_total") > 100
            # 300 bodies of 0.4 MB and 0.5 MB each once read are 270 MB. What may be there at once: the queue's 8 MiB, those
            # and their columns while a file is made of them, 16 MiB that wait to be masked, and one being read.
            assert growth() < 128 * 1024 * 1024
