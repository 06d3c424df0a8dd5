"""What is read from h2load's output and its log."""

import pytest

from loadtests import h2load, messages
from loadtests.load import Load
from loadtests.payloads import MODEL, all_payloads
from loadtests.processes import BenchError

REPLY_BYTES = len(messages.framed(messages.infer_reply(MODEL, 1)))
OUTPUT = """starting benchmark...
Application protocol: h2c

finished in 2.01s, 500.00 req/s, 4.10KB/s
requests: 1000 total, 1032 started, 1000 done, {succeeded} succeeded, 0 failed, {errored} errored, 0 timeout
status codes: 1000 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 120.15KB (123033) total, 10.58KB (10834) headers (space savings 93.59%), 81.87KB ({data}) data
                     min         max         mean         sd        +/- sd
"""
LOG = "".join(f"1795525942805847\t200\t{us}\n" for us in range(1, 1001))


def parsed(*, succeeded: int = 1000, errored: int = 0, replies: int = 1000, log: str = LOG) -> Load:
    """A spell of two seconds with 500 requests/s."""
    output = OUTPUT.format(succeeded=succeeded, errored=errored, data=replies * REPLY_BYTES)
    return h2load.parse(output, log)


def test_rate_and_latencies_come_from_the_output_and_the_log() -> None:
    """Requests over the measured time; percentiles of what the log says of each request."""
    load = parsed()
    assert (load.requests, load.requests_per_s) == (1000, 500.0)
    assert (load.mean_us, load.p50_us, load.p99_us, load.max_us) == (500.5, 501, 991, 1000)
    assert not any(load.errors.values())


def test_answers_without_a_message_are_errors() -> None:
    """A refused call has HTTP status 200 and no data: with 990 messages to 1000 answers, ten went wrong."""
    assert parsed(replies=990).errors["no_message"] == 10


def test_failed_streams_have_no_latency() -> None:
    """They are counted as errors, and their rows are left out."""
    load = parsed(succeeded=999, errored=1, log=f"{LOG}1795525942805847\t-1\t9999999\n")
    assert (load.max_us, load.errors["errored"]) == (1000, 1)


def test_output_without_a_result_is_an_error() -> None:
    """What cannot be read never passes for a measurement; nor does silence."""
    with pytest.raises(BenchError, match="no result"):
        h2load.parse("could not connect", "")
    assert parsed(succeeded=0, replies=0, log="").requests == 0


def test_messages_have_their_sizes_and_their_frames() -> None:
    """100 bytes and about 600 KB, each behind five bytes of gRPC's."""
    payloads = all_payloads()
    for name, least, most in (("grpc", 100, 100), ("grpc-600KB", 599_000, 600_000)):
        body = payloads[name].body
        assert least <= len(body) - 5 <= most
        assert body[:5] == b"\0" + (len(body) - 5).to_bytes(4)
