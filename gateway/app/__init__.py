"""Builds the applications from the settings: the only place that wires parts together."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable
from functools import partial
from importlib import metadata

import uvloop

from gateway.app.control import control_plane
from gateway.app.data import serve_alone, serve_beside_others
from gateway.app.host import supervise
from gateway.app.process import forget_addresses, inference_ports, tell_addresses, wait_for_signal
from gateway.app.reread import reread
from gateway.observe.metrics import BUILD
from gateway.observe.process_log import set_up_logging
from gateway.observe.redact import Redactor
from gateway.secret import load_secret, worker_token
from gateway.settings import Settings, SettingsError, settings_of
from gateway.supervisor.member import Member
from gateway.supervisor.orphans import Orphans


def run(settings: Settings, again: Callable[[], Settings]) -> int:
    """Serve by the settings' role until SIGTERM or SIGINT. The exit status: 0 after a drain, 1 when it cannot start.

    `again` reads the settings anew, for the workers that SIGHUP has replaced. Raises `SettingsError`.
    """
    first = settings
    # It would end a process that has nothing to open anew, or has not come so far.
    signal.signal(signal.SIGHUP, lambda *_: None)
    redact = _set_up_logging(settings)
    try:
        # Its owner's alone: the snapshot in it holds the keys' digests.
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = load_secret(settings)
        _hide(secret, redact)
        with contextlib.ExitStack() as stack:
            control = None
            if settings.role != "data":
                settings, control = stack.enter_context(control_plane(settings, secret))
            if settings.role == "control":
                tell_addresses(settings, None)
                wait_for_signal()
            elif settings.workers == 1:
                if orphans := Orphans(settings.data_dir):
                    orphans.free(settings.inference.host, inference_ports(settings.inference))
                uvloop.run(serve_alone(settings, secret))
            else:
                asyncio.run(supervise(settings, secret, control, partial(reread, again, first, settings)))
    except SettingsError as error:
        for problem in error.problems:
            print(redact(f"maas: {problem}"), file=sys.stderr)
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"maas: cannot start: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    finally:
        forget_addresses(settings)
    return 0


def run_worker(line_fd: int) -> int:
    """Be one of several workers; the supervisor is at the other end of the line."""
    try:
        member = Member(line_fd)
    except EOFError:
        return 1
    settings, secret = settings_of(member.begin.settings), member.begin.secret
    _hide(secret, _set_up_logging(settings))
    try:
        uvloop.run(serve_beside_others(settings, secret, member))
    except SettingsError as error:
        member.refuse(error.problems)
        return 1
    except OSError as error:
        member.refuse([f"cannot start: {error.strerror or error}"])
        return 1
    return 0


def _set_up_logging(settings: Settings) -> Redactor:
    redact = Redactor(settings.secrets)
    set_up_logging(settings.logs.level, settings.logs.format, redact)
    BUILD.labels(metadata.version("maas")).set(1)
    return redact


def _hide(secret: bytes, redact: Redactor) -> None:
    redact.hide(secret.decode("latin-1"), worker_token(secret))
