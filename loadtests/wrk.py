"""The load generator: wrk with one thread, told what to send by a Lua script and what to print by the same."""

import re
import resource
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec

from loadtests.payloads import ROUTING_KEYS, Payload
from loadtests.peers.peer import ROUTING_HEADER
from loadtests.processes import BenchError, on_core

_REPLY_LIMIT_S = 30
"""wrk counts a reply that takes longer as an error."""

_LEAST_AT_WORK = 0.5
"""Measured shares of connections at work were above 0.8, wrk's own share of the time being the rest."""

_RESULT_LINE = re.compile(r"^BENCH (\{.*\})$", re.MULTILINE)

# A static request is built once by wrk; a `request` function copies the request each time, which only small ones bear.
_SCRIPT = """\
wrk.method = "POST"
wrk.headers = {{ {headers} }}
local file = assert(io.open({body_path}, "rb"))
wrk.body = file:read("*a")
file:close()
local keys = {keys}
if keys > 1 then
  local requests, turn = {{}}, 0
  init = function(args)
    for number = 1, keys do
      wrk.headers[{routing_header}] = "user-" .. number
      requests[number] = wrk.format()
    end
  end
  request = function()
    turn = turn % keys + 1
    return requests[turn]
  end
end
done = function(summary, latency, requests)
  io.write(string.format(
    'BENCH {{"requests":%d,"duration_us":%d,"mean_us":%.1f,"p50_us":%.1f,"p99_us":%.1f,"max_us":%.1f,' ..
    '"errors":{{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}}}\\n',
    summary.requests, summary.duration, latency.mean,
    latency:percentile(50), latency:percentile(99), latency.max,
    summary.errors.connect, summary.errors.read, summary.errors.write,
    summary.errors.status, summary.errors.timeout))
end
"""


class Load(msgspec.Struct, frozen=True):
    """What wrk saw. `errors` counts failed connects, reads and writes, replies above 399, and timeouts."""

    requests: int
    duration_us: int
    mean_us: float
    p50_us: float
    p99_us: float
    max_us: float
    errors: dict[str, int]

    @property
    def requests_per_s(self) -> float:
        """Answered requests a second."""
        return self.requests / (self.duration_us / 1e6)

    def stalled(self, connections: int) -> bool:
        """True if most connections waited for a reply that never came; wrk itself says nothing about those.

        By Little's law the latencies of all replies, over the duration, are the connections at work. A connection
        cannot count for the reply that it still waited for at the end: at most the longest latency seen.
        """
        at_work = self.requests * self.mean_us / self.duration_us
        countable = max(0.0, 1 - self.max_us / self.duration_us)
        return at_work < _LEAST_AT_WORK * countable * connections


def missing() -> str | None:
    """Why no load can be made here, or None."""
    return None if shutil.which("wrk") else "wrk is not installed (Debian package wrk)"


def write_script(folder: Path, payload: Payload, headers: Mapping[str, str]) -> Path:
    """The Lua script that sends `payload` with `headers`, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    body_path = folder / f"{payload.name}.body"
    body_path.write_bytes(payload.body)
    script = folder / f"{payload.name}.lua"
    script.write_text(
        _SCRIPT.format(
            headers=", ".join(f"[{_lua(name)}] = {_lua(value)}" for name, value in headers.items()),
            body_path=_lua(str(body_path)),
            keys=ROUTING_KEYS if payload.rotate_keys else 1,
            routing_header=_lua(ROUTING_HEADER),
        )
    )
    return script


def _lua(text: str) -> str:
    """A Lua string literal; Lua 5.1 reads decimal escapes of three digits for any byte."""
    plain = {byte for byte in range(32, 127) if chr(byte) not in '"\\'}
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03d}" for b in text.encode()) + '"'


def parse(output: str) -> Load:
    """The result line of the script. Raises `BenchError` if there is none, or if nothing was answered."""
    found = _RESULT_LINE.search(output)
    if found is None:
        raise BenchError(f"wrk printed no result:\n{output[-2000:]}")
    load = msgspec.json.decode(found[1], type=Load)
    if load.requests == 0:
        raise BenchError(f"wrk got no reply at all; errors: {load.errors}")
    return load


def run(script: Path, url: str, *, connections: int, duration_s: int, core: int) -> tuple[Load, float]:
    """Load `url`; the second value is wrk's own CPU time in seconds. Raises `BenchError` if anything went wrong."""
    command = [
        "wrk", "-t1", f"-c{connections}", f"-d{duration_s}s", f"--timeout={_REPLY_LIMIT_S}s", "-s", str(script), url,
    ]  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    limit_s = duration_s + 2 * _REPLY_LIMIT_S
    try:
        done = subprocess.run(
            on_core(core, command), capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"wrk did not end {limit_s} s after its start: {url}") from error
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise BenchError(f"wrk ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    load = parse(done.stdout)
    if any(load.errors.values()):
        raise BenchError(f"{url}: {load.requests} requests with errors: {load.errors}")
    if load.stalled(connections):
        raise BenchError(
            f"{url}: connections hang; {connections} of them got {load.requests} replies: {load}"
        )
    cpu_s = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    return load, cpu_s
