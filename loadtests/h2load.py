"""The load generator for gRPC: h2load with one thread, each of its clients with one call at a time on a connection of its own."""

import re
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from loadtests import messages
from loadtests.load import REPLY_LIMIT_S, Generator, Load, generate
from loadtests.payloads import MODEL, VERSIONS, Payload
from loadtests.processes import BenchError

_REPLY_BYTES = len(messages.framed(messages.infer_reply(MODEL, VERSIONS[0])))

_RATE = re.compile(r"^finished in [^,]+, ([\d.]+) req/s", re.MULTILINE)
_REQUESTS = re.compile(
    r"^requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", re.MULTILINE
)
_DATA = re.compile(r"^traffic: .* \((\d+)\) data$", re.MULTILINE)


def missing() -> str | None:
    """Why no load can be made here, or None."""
    return None if shutil.which("h2load") else "h2load is not installed (Debian package nghttp2-client)"


def prepare(folder: Path, payload: Payload, headers: Mapping[str, str]) -> Generator:
    """A load of `payload` with `headers`; its files are in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    body = folder / f"{payload.name}.body"
    body.write_bytes(payload.body)
    fields = [f"--header={name}: {value}" for name, value in headers.items()]
    return partial(_run, [f"--data={body}", *fields], folder / f"{payload.name}.log")


def _run(
    arguments: list[str], log: Path, url: str, *, connections: int, duration_s: int, core: int
) -> tuple[Load, float]:
    log.unlink(missing_ok=True)
    command = [
        "h2load", "--threads=1", f"--clients={connections}", "--max-concurrent-streams=1",
        f"--duration={duration_s}", f"--connection-inactivity-timeout={REPLY_LIMIT_S}",
        f"--log-file={log}", *arguments, url,
    ]  # fmt: skip
    output, cpu_s = generate(command, duration_s=duration_s, core=core)
    load = parse(output, log.read_text() if log.exists() else "")
    load.check(url, connections)
    return load, cpu_s


def parse(output: str, log: str) -> Load:
    """What h2load printed, and the latencies from its log. Raises `BenchError` if there is no result.

    h2load does not look at `grpc-status`: a call that was refused counts as answered. But it comes without a message, so
    replies that lack bytes are counted as errors of the kind `no_message`.
    """
    rate, requests, data = _RATE.search(output), _REQUESTS.search(output), _DATA.search(output)
    if rate is None or requests is None or data is None:
        raise BenchError(f"h2load printed no result:\n{output[-2000:]}")
    succeeded, *errors = map(int, requests.groups())
    rows = [line.split("\t") for line in log.splitlines()]
    took_us = sorted(int(us) for _, status, us in rows if status == "200")
    found = dict(zip(("failed", "errored", "timeout"), errors, strict=True))
    found["no_message"] = max(0, succeeded - int(data[1]) // _REPLY_BYTES)
    if not took_us:
        return Load(0, 0, 0, 0, 0, 0, found)
    return Load(
        requests=succeeded,
        duration_us=round(succeeded / float(rate[1]) * 1e6),
        mean_us=sum(took_us) / len(took_us),
        p50_us=took_us[len(took_us) // 2],
        p99_us=took_us[int(len(took_us) * 0.99)],
        max_us=took_us[-1],
        errors=found,
    )
