"""The benchmark as a whole, with the peers that this machine has."""

import json
import os
from pathlib import Path

import pytest

from loadtests import bench, h2load, wrk
from loadtests.check import check_peer
from loadtests.payloads import infer_path, json_payload, small_grpc_payload
from loadtests.peers import envoy, maas, nginx
from loadtests.peers.peer import Peer, Stage
from loadtests.processes import BenchError, plan_cores
from loadtests.upstream import fixed_reply_upstream, missing_grpc

pytestmark = pytest.mark.slow

TINY = ("--connections=4", "--rounds=1", "--duration=1")
CORES = plan_cores(sorted(os.sched_getaffinity(0))[:1])

GRPC_MISSING = h2load.missing() or missing_grpc()

needs_wrk = pytest.mark.skipif(wrk.missing() is not None, reason=str(wrk.missing()))
needs_grpc = pytest.mark.skipif(GRPC_MISSING is not None, reason=str(GRPC_MISSING))
needs_nginx = pytest.mark.skipif(nginx.missing() is not None, reason=f"nginx: {nginx.missing()}")
needs_envoy = pytest.mark.skipif(envoy.missing() is not None, reason=f"envoy: {envoy.missing()}")


@needs_wrk
@needs_nginx
def test_a_tiny_run_measures_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Direct and nginx, two payloads, one second each: rates, memory and a kept file come out, and status 0."""
    status = bench.main(
        ["--peers=direct,nginx", "--payloads=json,600KB", *TINY, f"--results={tmp_path}", "--json"]
    )
    printed = capsys.readouterr()
    assert status == 0, printed.err
    document = json.loads(printed.out)
    measured = {(point["payload"], point["peer"]): point for point in document["points"]}
    assert set(measured) == {(size, peer) for size in ("json", "600KB") for peer in ("direct", "nginx")}
    assert all(point["requests_per_s"] > 0 for point in measured.values())
    assert measured["json", "nginx"]["proxy_cpu_us_per_request"] > 0
    assert all(entry["at_rest_bytes"] > 1 << 20 for entry in document["run"]["memory"])
    [kept] = tmp_path.glob("*.json")
    assert json.loads(kept.read_text()) == document


@needs_grpc
@needs_nginx
def test_a_tiny_run_of_grpc_measures_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Direct and nginx, small messages and large ones: rates, latencies and the proxy's CPU time come out."""
    status = bench.main(
        ["--peers=direct,nginx", "--payloads=grpc,grpc-600KB", *TINY, f"--results={tmp_path}", "--json"]
    )
    printed = capsys.readouterr()
    assert status == 0, printed.err
    points = json.loads(printed.out)["points"]
    assert {(point["payload"], point["peer"]) for point in points} == {
        (payload, peer) for payload in ("grpc", "grpc-600KB") for peer in ("direct", "nginx")
    }
    assert all(point["requests_per_s"] > 0 and 0 < point["p50_ms"] <= point["p99_ms"] for point in points)
    assert all(point["proxy_cpu_us_per_request"] > 0 for point in points if point["peer"] == "nginx")


@needs_wrk
def test_without_a_generator_the_other_payloads_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where h2load is not installed, the report says so and has the HTTP rows."""
    monkeypatch.setattr(h2load, "missing", lambda: "h2load is not installed")
    status = bench.main(["--peers=direct", "--payloads=json,grpc", *TINY, f"--results={tmp_path}"])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    assert "gRPC, 100-byte message was not measured: h2load is not installed." in printed.out
    assert "100-byte JSON, requests/s" in printed.out


@needs_wrk
def test_an_absent_peer_leaves_the_others_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without nginx on the machine its column says so, and direct calls are measured."""
    monkeypatch.setattr("loadtests.peers.nginx.SEARCH_PATH", str(tmp_path))
    status = bench.main(["--peers=direct,nginx", "--payloads=json", *TINY, f"--results={tmp_path}"])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    assert "nginx was not measured: not installed" in printed.out
    [row] = [line.split() for line in printed.out.splitlines() if "not measured" in line and line[-1] == "-"]
    assert (row[0], row[-3:]) == ("4", ["not", "measured", "-"])


@needs_wrk
def test_error_replies_are_never_reported_as_a_measurement(tmp_path: Path) -> None:
    """Load that meets a 404 ends the benchmark."""
    payload = json_payload()
    with fixed_reply_upstream(payload, tmp_path / "upstream", CORES) as upstream:
        generator = wrk.prepare(tmp_path, payload, payload.headers)
        with pytest.raises(BenchError, match=r"'status': [1-9]"):
            generator(
                f"http://127.0.0.1:{upstream.port}/elsewhere",
                connections=1,
                duration_s=1,
                core=CORES.load,
            )


@needs_grpc
def test_calls_that_are_refused_are_never_reported_as_a_measurement(tmp_path: Path) -> None:
    """h2load takes a gRPC error for an answer; that it has no message gives it away."""
    payload = json_payload()
    grpc = small_grpc_payload()
    with (
        fixed_reply_upstream(payload, tmp_path / "upstream", CORES) as upstream,
        maas.start(Stage(grpc, upstream, tmp_path / "maas", CORES)) as peer,
    ):
        generator = h2load.prepare(tmp_path, grpc, grpc.headers)
        with pytest.raises(BenchError, match=r"'no_message': [1-9]"):
            generator(peer.url, connections=1, duration_s=1, core=CORES.load)


@needs_envoy
def test_envoy_does_the_whole_job_before_it_is_measured(tmp_path: Path) -> None:
    """It answers with the upstream's bytes, refuses a wrong key and none, and deals out about 10 % to version 2."""
    payload = json_payload()
    with (
        fixed_reply_upstream(payload, tmp_path / "upstream", CORES) as upstream,
        envoy.start(Stage(payload, upstream, tmp_path / "envoy", CORES)) as peer,
    ):
        check_peer(peer, payload)


def test_a_peer_that_lets_strangers_in_is_not_measured(tmp_path: Path) -> None:
    """Calls that should be guarded and are not end the benchmark before any load."""
    payload = json_payload()
    with fixed_reply_upstream(payload, tmp_path / "upstream", CORES) as upstream:
        open_door = Peer("open door", upstream.port, infer_path(1), key="some-key", guarded=True)
        with pytest.raises(BenchError, match="a wrong key got ok, not refused"):
            check_peer(open_door, payload)


def test_the_gateway_does_the_whole_job_before_it_is_measured(tmp_path: Path) -> None:
    """Set up through its own verbs, it answers with the upstream's bytes, refuses strangers and splits 90/10."""
    payload = json_payload()
    with (
        fixed_reply_upstream(payload, tmp_path / "upstream", CORES) as upstream,
        maas.start(Stage(payload, upstream, tmp_path / "maas", CORES)) as peer,
    ):
        check_peer(peer, payload)
