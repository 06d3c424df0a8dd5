"""Streams of tokens: what the listener hears, the upstream's tokens, medians and what is added, and a tiny run."""

import json
from pathlib import Path

import pytest

from loadtests import bench, report
from loadtests.listener import Ears, Events
from loadtests.payloads import STREAM_TOKENS
from loadtests.results import Machine, Run
from loadtests.stream_results import StreamSample, stream_points
from loadtests.tokens import stamp

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def hear(pieces: list[bytes]) -> Ears:
    """What is heard of one stream that arrives in these pieces, to its end. Raises what the listener raises."""
    ears = Ears()
    events = Events(ears)
    assert [events.take(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    return ears


def sample(peer: str, token_us: float, *, first_ms: float = 1.0, streams: int = 100) -> StreamSample:
    """A spell of `generate_stream`."""
    proxy = None if peer == "direct" else 0.5
    return StreamSample(
        payload="generate",
        streams=streams,
        peer=peer,
        round=1,
        tokens=1000,
        first_p50_ms=first_ms,
        first_p99_ms=5.0,
        token_p50_us=token_us,
        token_p99_us=900.0,
        proxy_cpu_us_per_token=proxy and 60.0,
        proxy_busy=proxy,
        lost_busy=proxy and 0.0,
        load_busy=0.3,
    )


def test_every_token_of_a_stream_is_heard_once_however_it_is_cut() -> None:
    """Whole, byte by byte, and with the end in a piece of its own: fifty tokens, of which one is the first."""
    events = b"".join(b"data: " + stamp() + b"\n\n" for _ in range(STREAM_TOKENS))
    whole = HEAD + events + END
    small = [HEAD, *(bytes([byte]) for byte in events), END[:2], END[2:]]
    for pieces in ([whole], [HEAD, events, END], small):
        heard = hear(pieces).heard()
        assert heard.tokens == STREAM_TOKENS
        assert 0 < heard.first_p50_ms < 60_000


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([HEAD, stamp(), END], "ended after 1 tokens"),
        ([HEAD, stamp(), b""], "closed"),
        ([b"HTTP/1.1 429 Too Many Requests\r\n\r\n"], "429"),
    ],
)
def test_what_is_no_whole_stream_is_a_fault(pieces: list[bytes], words: str) -> None:
    """One that ends early, one that breaks off, and a refusal."""
    with pytest.raises(RuntimeError, match=words):
        hear(pieces)


def test_what_is_added_is_told_beside_direct_calls() -> None:
    """The median over that of direct calls with as many streams; without them there is none."""
    direct, first, second, alone = stream_points(
        [
            sample("direct", 100.0),
            sample("direct", 110.0),
            sample("maas", 180.0, first_ms=3.0),
            sample("maas", 400.0, first_ms=9.0),
            sample("maas", 190.0, first_ms=2.0),
            sample("envoy", 205.0),
            sample("maas", 50.0, streams=1),
        ]
    )
    assert (direct.token_p50_us, direct.token_added_us) == (105.0, None)
    assert (first.token_added_us, first.first_added_ms) == (85.0, 2.0)
    assert (second.peer, second.token_added_us) == ("envoy", 100.0)
    assert (alone.streams, alone.token_added_us) == (1, None)


def test_streams_have_a_table_of_their_own() -> None:
    """A row for each peer that was measured, in both forms of the report, and the medians in the JSON."""
    run = Run(
        started_at="2026-11-24T13:00:00+00:00",
        machine=Machine("A CPU", 2, "Debian", "3.11.2", {}, 0.1, "proxy on core 1"),
        payloads={},
        peers=("direct", "envoy", "maas"),
        connections=(32,),
        rounds=1,
        duration_s=3,
        missing={},
        samples=(),
        memory=(),
        streams={"generate": "generate_stream"},
        stream_counts=(1, 100),
        stream_samples=(sample("direct", 100.0), sample("maas", 190.0)),
    )
    for text in (report.as_text(run), report.as_markdown(run)):
        rows = [line for line in text.splitlines() if "generate_stream" in line]
        assert len(rows) == 2
        assert "maas" in rows[1]
        assert "90" in rows[1]
    assert json.loads(report.as_json(run))["stream_points"][1]["token_added_us"] == 90.0


@pytest.mark.slow
def test_a_tiny_run_of_streams_measures_and_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Direct and the gateway, over HTTP, as a chat and over gRPC: every stream came whole, or there would be no figures."""
    status = bench.main(
        [
            "--peers=direct,maas",
            "--payloads=generate,chat,grpc-stream",
            "--streams=3",
            "--rounds=1",
            "--duration=1",
            f"--results={tmp_path}",
            "--json",
        ]
    )
    printed = capsys.readouterr()
    assert status == 0, printed.err
    document = json.loads(printed.out)
    assert document["points"] == []
    assert {(point["payload"], point["peer"]) for point in document["stream_points"]} == {
        (payload, peer) for payload in ("generate", "chat", "grpc-stream") for peer in ("direct", "maas")
    }
    samples = document["run"]["stream_samples"]
    assert all(entry["tokens"] >= 3 * STREAM_TOKENS for entry in samples)
    assert all(entry["proxy_cpu_us_per_token"] > 0 for entry in samples if entry["peer"] == "maas")
