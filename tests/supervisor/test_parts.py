"""What the supervisor is made of, piece by piece."""

import errno
import json
import socket
import subprocess
import sys

import pytest

from gateway.settings import Inference, Logs, Settings, settings_bytes, settings_of
from gateway.supervisor.messages import Begin, framed, hear_first
from gateway.supervisor.ports import bind
from gateway.supervisor.seat import delay_s
from gateway.supervisor.shares import ABSENT, Shares


def test_restarts_back_off_and_no_further_than_half_a_minute() -> None:
    """The first restart comes at once; who fails again and again waits longer each time, up to 30 s."""
    delays = [delay_s(failures) for failures in range(1, 12)]
    assert delays[0] == 0
    assert delays[1:8] == [0.5, 1, 2, 4, 8, 16, 30]
    assert set(delays[8:]) == {30}
    assert delay_s(10**6) == 30


def test_shares_are_seen_by_all_who_have_the_memory() -> None:
    """Each place is its own; those that do not accept do not count."""
    mine = Shares.create(3)
    theirs = Shares(mine.fd, 3)
    assert [theirs.of(place) for place in range(3)] == [ABSENT] * 3
    assert theirs.least_beside(0) is None
    mine.tell(0, 7)
    mine.tell(2, 5)
    assert theirs.least_beside(0) == 5
    assert theirs.least_beside(1) == 5
    assert theirs.least_beside(2) == 7


def test_a_port_that_is_taken_is_named_with_its_setting() -> None:
    """The error says which setting to change; a free port is the same on every address of the host."""
    (first,) = bind("127.0.0.1", 0, "inference.port")
    with first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(
            OSError, match=rf"inference.port {port} on 127.0.0.1: Address already in use"
        ) as raised:
            bind("127.0.0.1", port, "inference.port")
        assert raised.value.errno == errno.EADDRINUSE
    everywhere = bind("localhost", 0, "inference.port")
    assert len({sock.getsockname()[1] for sock in everywhere}) == 1
    for sock in everywhere:
        sock.close()
    with pytest.raises(OSError, match=r"control.port 1 on no\.such\.host\.invalid: "):
        bind("no.such.host.invalid", 1, "control.port")


def test_a_worker_is_told_the_very_settings() -> None:
    """What goes over the line comes out as it was, paths and all."""
    settings = Settings(workers=3, inference=Inference(drain_notice_s=0.25), logs=Logs(access="-"))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        begin = Begin(2, 5, 9, 7, 6, 4, [8, 9], b"secret", settings_bytes(settings))
        ours.sendall(framed(begin))
        found = hear_first(theirs)
        assert found == begin
        assert settings_of(found.settings) == settings
        ours.close()
        with pytest.raises(EOFError):
            hear_first(theirs)


def test_a_worker_loads_nothing_of_a_command_line() -> None:
    """Callers wait for it when another has died: what colours a terminal or serves the control plane is not imported."""
    program = "import json, sys, gateway.app.__main__; print(json.dumps(sorted(sys.modules)))"
    told = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, check=True).stdout
    loaded = {name.partition(".")[0] for name in json.loads(told)}
    assert not loaded & {
        "rich",
        "pygments",
        "litestar",
        "sqlalchemy",
        "uvicorn",
        "pyarrow",
        "redis",
        "onnxruntime",
    }
