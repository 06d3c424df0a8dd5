"""Clients and servers that others wrote: curl, nghttp2's tools, and the `h2` package on either side."""

import shutil
import subprocess
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http2.encode import encoded
from gateway.http2.limits import Limits
from tests.http2.conftest import Running
from tests.http2.in_memory import END, REPLY, Line, no_timers
from tests.patience import PATIENT_S

Field = tuple[bytes, bytes]
LIMITS = Limits(ping_s=0.0)


def run(*command: str) -> bytes:
    """What a tool prints; skips the test where there is no such tool."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, timeout=2 * PATIENT_S, check=False)
    assert done.returncode == 0, (done.stdout[-500:], done.stderr[-500:])
    return done.stdout


def test_curl(server: Running, tmp_path: Path) -> None:
    """A body there and back, and a large reply."""
    sent = tmp_path / "sent"
    sent.write_bytes(bytes(range(256)) * 8000)
    url = f"http://127.0.0.1:{server.address[1]}"
    curl = ("curl", "--silent", "--show-error", "--fail", "--http2-prior-knowledge")
    assert run(*curl, "--data-binary", f"@{sent}", f"{url}/echo") == sent.read_bytes()
    assert run(*curl, f"{url}/large/7000000") == bytes(7_000_000)
    assert run(*curl, "--output", "/dev/null", "--write-out", "%{http_version}", f"{url}/") == b"2"


def test_nghttp(server: Running, tmp_path: Path) -> None:
    """With padding, CONTINUATION, a small window, and many requests at once."""
    sent = tmp_path / "sent"
    sent.write_bytes(bytes(range(256)) * 2000)
    url = f"http://127.0.0.1:{server.address[1]}"
    nghttp = ("nghttp", "--timeout", str(int(PATIENT_S)))
    assert run(*nghttp, "--data", str(sent), "--padding", "200", f"{url}/echo") == sent.read_bytes()
    assert run(*nghttp, "--continuation", f"{url}/large/1000") == bytes(1000)
    assert run(*nghttp, "--window-bits", "10", f"{url}/large/500000") == bytes(500_000)
    assert run(*nghttp, "--header-table-size", "0", "--multiply", "50", f"{url}/large/999") == bytes(50 * 999)


def test_h2load(server: Running) -> None:
    """Some thousand requests, many at a time: all are answered."""
    url = f"http://127.0.0.1:{server.address[1]}/"
    said = run("h2load", "--requests=5000", "--clients=20", "--max-concurrent-streams=100", url).decode()
    assert "5000 succeeded, 0 failed, 0 errored" in said


# --- in memory ---

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True).filter(
    lambda name: (
        name
        not in {
            "connection",
            "keep-alive",
            "proxy-connection",
            "transfer-encoding",
            "upgrade",
            "te",
            "host",
            "cookie",
            "content-length",
            "expect",
        }
    )
)
VALUES = st.from_regex(r"[!-~]([ -~]{0,80}[!-~])?", fullmatch=True)
EXTRA = st.lists(st.tuples(NAMES.map(str.encode), VALUES.map(str.encode)), max_size=6)
BODIES = st.lists(st.integers(0, 50_000), max_size=4)
CALLS = st.lists(st.tuples(EXTRA, BODIES), min_size=1, max_size=5)


class Other:
    """The `h2` package, on one end of a line."""

    def __init__(self, *, client: bool) -> None:
        config = h2.config.H2Configuration(client_side=client, header_encoding=None)
        self.connection = h2.connection.H2Connection(config)
        self.connection.initiate_connection()
        self.heads: dict[int, list[Field]] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: list[int] = []

    def meet(self, line: Line) -> None:
        """Exchange bytes until neither has more to say."""
        while True:
            there, here = self.connection.data_to_send(), bytes(line.transport.out)
            line.transport.out.clear()
            if not there and not here:
                return
            line.feed(there)
            for event in self.connection.receive_data(here):
                self._take(event)

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived() | h2.events.ResponseReceived():
                self.heads[event.stream_id] = [(bytes(name), bytes(value)) for name, value in event.headers]
                self.bodies[event.stream_id] = b""
            case h2.events.DataReceived():
                self.bodies[event.stream_id] += event.data
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                self.ended.append(event.stream_id)
            case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                raise AssertionError(event)


def pieces(other: Other, line: Line, stream: int, size: int) -> None:
    """Send so many bytes of a body, as the windows let them pass."""
    while size:
        count = min(
            size,
            other.connection.local_flow_control_window(stream),
            other.connection.max_outbound_frame_size,
        )
        if count:
            other.connection.send_data(stream, bytes(count), pad_length=None)
            size -= count
        other.meet(line)


@given(CALLS)
def test_h2_as_the_client(calls: list[tuple[list[Field], list[int]]]) -> None:
    """Fields and bodies arrive as they were sent, with its tables, Huffman's code and its windows; so do the replies."""
    with no_timers():
        line, other = Line(server=True, limits=LIMITS), Other(client=True)
        other.meet(line)
        wanted = {}
        for number, (extra, body) in enumerate(calls):
            stream = 2 * number + 1
            head = [
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":path", b"/x"),
                (b":authority", b"h"),
                *extra,
            ]
            other.connection.send_headers(stream, head)
            wanted[stream] = (tuple(head), sum(body))
        for stream, (_, body) in zip(wanted, calls, strict=True):
            for size in body:
                pieces(other, line, stream, size)
            other.connection.end_stream(stream)
        other.meet(line)
        for stream, (fields, size) in wanted.items():
            assert ("request", stream, fields, False) in line.events
            assert sum(len(event[2]) for event in line.events if event[:2] == ("data", stream)) == size
            assert other.bodies[stream] == bytes(5)
        assert sorted(other.ended) == sorted(wanted)


@given(CALLS, st.sampled_from([0, 100, 4096]))
def test_h2_as_the_server(calls: list[tuple[list[Field], list[int]]], table: int) -> None:
    """The same the other way round, whatever table it keeps."""
    with no_timers():
        line, other = Line(server=False), Other(client=False)
        other.connection.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: table})
        other.meet(line)
        for extra, body in calls:
            call = line.ask()
            stream = call.stream.id
            for size in body:
                call.stream.send_data(bytes(size))
            call.stream.send_data(b"", end=True)
            other.meet(line)
            assert (stream, len(other.bodies[stream])) == (other.ended[-1], sum(body))
            other.connection.send_headers(stream, [(b":status", b"200"), *extra])
            for size in body:
                pieces(other, line, stream, size)
            other.connection.send_headers(stream, [(b"grpc-status", b"0")], end_stream=True)
            other.meet(line)
            assert ("head", stream, ((b":status", b"200"), *extra), False) in line.events
            assert sum(len(event[2]) for event in line.events if event[:2] == ("data", stream)) == sum(body)
            assert line.events[-1] == ("over", stream)


def test_large_blocks_go_out_in_pieces() -> None:
    """HEADERS and CONTINUATION, which `h2` puts together again."""
    with no_timers():
        line, other = Line(server=True, limits=LIMITS, answers=False), Other(client=True)
        other.connection.send_headers(
            1,
            [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"h")],
            end_stream=True,
        )
        other.meet(line)
        large = (b"x-large", b"y" * 40_000)
        line.calls[1].stream.send_head(REPLY + encoded([large]))
        line.calls[1].stream.send_data(b"abc")
        line.calls[1].stream.send_trailers(END + encoded([large]))
        other.meet(line)
        assert large in other.heads[1]
        assert (other.bodies[1], other.ended) == (b"abc", [1])
