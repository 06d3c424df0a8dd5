"""What the doctor looks at on this machine: folders, permissions, disk, limits, packages, clock, ports."""

import contextlib
import errno
import os
import resource
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import httpx

from gateway.cli.doctor.findings import Finding, broken, ok, warning
from gateway.settings import Settings

_SHORTEST_SECRET = 32
_LITTLE_DISK, _NO_DISK = 1 << 30, 100 << 20
# Each caller's connection may need one upstream; the rest is for logs, the database and the engine.
_DESCRIPTORS_BESIDE = 200
_STEP_S = 0.1
# The release that this file was written for came after it: a clock before it was never set.
_EARLIEST_NOW = 1_767_225_600


def look_at_machine(settings: Settings) -> Iterator[Finding]:
    """Everything that needs no other process to answer, ports aside."""
    yield from _data_folder(settings)
    yield _disk(settings.data_dir)
    if settings.role != "control":
        yield _descriptors(settings)
        yield _onnxruntime(settings)
    yield _clock()
    yield from _ports(settings)


def _data_folder(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    if not folder.is_dir():
        yield warning("data folder", f"{folder} is not there yet", "`maas init` or `maas serve` makes it")
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        yield broken(
            "data folder",
            f"{folder} cannot be written",
            f"give it to this user: chown {os.getuid()} {folder}",
        )
    elif stat.S_IMODE(folder.stat().st_mode) & 0o022:
        yield broken("data folder", f"others may write to {folder}", f"chmod 700 {folder}")
    elif stat.S_IMODE(folder.stat().st_mode) & 0o055:
        yield warning("data folder", f"others may look into {folder}", f"chmod 700 {folder}")
    else:
        yield ok("data folder", f"{folder}, its owner's alone")
    yield _secret(settings)


def _secret(settings: Settings) -> Finding:
    if settings.secret is not None:
        return ok("secret", "from the settings")
    path = settings.data_dir / "secret"
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_bytes().strip()
    except FileNotFoundError:
        return warning("secret", f"{path} is not there yet", "`maas init` or `maas serve` makes it")
    except OSError as error:
        return broken(
            "secret", f"{path}: {error.strerror}", f"give it to this user: chown {os.getuid()} {path}"
        )
    if mode & 0o077:
        return broken("secret", f"others may read {path} (mode {mode:04o})", f"chmod 600 {path}")
    if len(text) < _SHORTEST_SECRET:
        return broken(
            "secret",
            f"{path} holds {len(text)} characters, at least {_SHORTEST_SECRET} are needed",
            "put back the file that the keys were made with; with another secret no key works",
        )
    return ok("secret", f"{path}, mode {mode:04o}")


def _disk(folder: Path) -> Finding:
    place = next(
        (parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists()), Path("/")
    )
    free = shutil.disk_usage(place).free
    found = f"{free / (1 << 30):.1f} GiB free at {place}"
    todo = "make room: without it neither changes nor the last good snapshot can be kept"
    if free < _NO_DISK:
        return broken("disk", found, todo)
    return warning("disk", found, todo) if free < _LITTLE_DISK else ok("disk", found)


def _descriptors(settings: Settings) -> Finding:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * settings.inference.max_connections + _DESCRIPTORS_BESIDE
    found = (
        f"limit {limit}; inference.max_connections = {settings.inference.max_connections} may need {wanted}"
    )
    if limit == resource.RLIM_INFINITY or limit >= wanted:
        return ok("file descriptors", found)
    return warning(
        "file descriptors",
        found,
        f"raise it (ulimit -n {wanted}, systemd: LimitNOFILE={wanted}) or allow fewer connections",
    )


def _onnxruntime(settings: Settings) -> Finding:
    found = {}
    for name in ("onnxruntime", "onnxruntime-gpu"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    text = " and ".join(f"{name} {number}" for name, number in found.items())
    if len(found) > 1:
        return broken(
            "onnxruntime",
            f"{text} overwrite each other's files",
            "pip uninstall onnxruntime onnxruntime-gpu, then install the one that fits this machine",
        )
    if found:
        return ok("onnxruntime", text)
    if settings.embedded.model_repository is not None:
        return broken(
            "onnxruntime",
            "the embedded engine needs it",
            "install onnxruntime, or onnxruntime-gpu: the extras `cpu` and `gpu`",
        )
    return ok("onnxruntime", "not installed, not needed: no embedded engine is configured")


def _clock() -> Finding:
    if time.time() < _EARLIEST_NOW:
        return broken(
            "clock", f"says {time.strftime('%Y-%m-%d', time.gmtime())}", "set it: keys expire by it"
        )
    wall, steady = time.time(), time.monotonic()
    time.sleep(_STEP_S)
    step_s = abs((time.time() - wall) - (time.monotonic() - steady))
    if step_s > _STEP_S:
        return warning(
            "clock", f"jumped by {step_s:.1f} s while it was watched", "let NTP slew it instead of setting it"
        )
    return ok("clock", "runs evenly")


def _ports(settings: Settings) -> Iterator[Finding]:
    inference, control = settings.inference, settings.control
    if settings.role != "control":
        page = f"http://{reachable(inference.host)}:{inference.port}/v2"
        yield _port("inference.port", inference.host, inference.port, page)
        if inference.grpc_port:
            # It speaks no HTTP that could be asked; whose it is, its neighbour tells.
            yield _port("inference.grpc_port", inference.host, inference.grpc_port, page)
        else:
            yield ok("inference.grpc_port", "0: no gRPC")
    if settings.role == "data":
        page = f"http://{reachable(inference.host)}:{inference.ops_port}/health/live"
        yield _port("inference.ops_port", inference.host, inference.ops_port, page)
    else:
        page = f"http://{reachable(control.host)}:{control.port}/health/live"
        yield _port("control.port", control.host, control.port, page)


def _port(setting: str, host: str, port: int, page: str) -> Finding:
    """Whether the port is free, or a gateway's: then `page` (a URL) is answered as gateways answer it."""
    if port == 0:
        return ok(setting, "0: a free one at each start")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return broken(
                    setting,
                    f"{host} port {port}: {error.strerror}",
                    "choose an address and port of this host",
                )
        else:
            return ok(setting, f"{port} is free: nothing of ours runs there")
    if is_ours(page):
        return ok(setting, f"{port}, in use by a maas gateway")
    return broken(
        setting, f"another program listens on {host} port {port}", f"end it, or choose another {setting}"
    )


def is_ours(url: str) -> bool:
    """Whether a page that both planes have is answered as this gateway answers it."""
    try:
        reply = httpx.get(url, timeout=2.0, trust_env=False)
        if url.endswith("/v2"):
            return bool(reply.json().get("name") == "maas")
        return reply.is_success and reply.text.strip() in ("ok", '{"status":"live"}')
    except (httpx.HTTPError, ValueError, AttributeError):
        return False


def reachable(host: str) -> str:
    """An address to call what listens on `host`, in the form that URLs take."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - what it is compared with
    return f"[{host}]" if ":" in host else host
