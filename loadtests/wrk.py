"""The load generator: wrk with one thread, told what to send by a Lua script and what to print by the same."""

import re
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import msgspec

from loadtests.load import REPLY_LIMIT_S, Generator, Load, generate
from loadtests.payloads import ROUTING_KEYS, Payload
from loadtests.peers.peer import ROUTING_HEADER
from loadtests.processes import BenchError

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


def missing() -> str | None:
    """Why no load can be made here, or None."""
    return None if shutil.which("wrk") else "wrk is not installed (Debian package wrk)"


def prepare(folder: Path, payload: Payload, headers: Mapping[str, str]) -> Generator:
    """A load of `payload` with `headers`; its files are in `folder`."""
    return partial(_run, write_script(folder, payload, headers))


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
    """The result line of the script. Raises `BenchError` if there is none."""
    found = _RESULT_LINE.search(output)
    if found is None:
        raise BenchError(f"wrk printed no result:\n{output[-2000:]}")
    return msgspec.json.decode(found[1], type=Load)


def _run(script: Path, url: str, *, connections: int, duration_s: int, core: int) -> tuple[Load, float]:
    command = [
        "wrk", "-t1", f"-c{connections}", f"-d{duration_s}s", f"--timeout={REPLY_LIMIT_S}s", "-s", str(script), url,
    ]  # fmt: skip
    output, cpu_s = generate(command, duration_s=duration_s, core=core)
    load = parse(output)
    load.check(url, connections)
    return load, cpu_s
