"""Snapshots: revoked and expired keys are cut, poisoned ones are refused, damaged files fall back."""

import hashlib
import itertools
import math
import shutil
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.snapshot.document import PolicyEntry, SnapshotDocument, decode, encode
from tests.dataplane.raw import RawClient, ask, chunked, expect_problem, request, until_answered
from tests.dataplane.upstream import Talk, Upstream
from tests.faults.control import FakeControl
from tests.gateway_process import APP, Gateway, alias_entry, changed, document, key_entry, running, wait_for
from tests.patience import PATIENT_S, in_time

pytestmark = pytest.mark.slow

Fed = tuple[Gateway, Upstream, FakeControl, SnapshotDocument]
ALIAS_B = "/v2/models/b/infer"


@pytest.fixture
def fed(tmp_path: Path) -> Iterator[Fed]:
    """A gateway that follows a control plane and serves version 1."""
    upstream, control = Upstream(), FakeControl()
    found = document(upstream.url)
    control.publish(encode(found), found.version)
    with running(tmp_path, found, CONTROL__URL=control.url) as gateway:
        until_answered(gateway.address)
        yield gateway, upstream, control, found
    upstream.close()
    control.close()


def with_b(found: SnapshotDocument, version: int) -> SnapshotDocument:
    """`found` with an alias `b` more."""
    return changed(found, version=version, aliases=(*found.aliases, alias_entry("b", ("m", 2, 10_000))))


def drip(talk: Talk) -> None:
    """A stream without an end."""
    talk.take_body()
    talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        talk.send(chunked(b"x", last=b""))
        time.sleep(0.02)


def cut_after(client: RawClient, limit_s: float = PATIENT_S) -> float:
    """Read a stream to its end; when that was."""
    client.sock.settimeout(limit_s)
    try:
        while client.sock.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic()


def until_b(gateway: Gateway, status: int) -> float:
    """Wait until calls of alias `b` are answered so; how many seconds it took."""
    began = time.monotonic()
    wait_for(lambda: ask(gateway.address, request(ALIAS_B)).status == status, what=f"{status} for b")
    return time.monotonic() - began


def test_a_change_is_live_within_a_second(fed: Fed) -> None:
    """A new alias answers, and the snapshot is on disk for the next start."""
    gateway, _, control, found = fed
    versions = itertools.count(2)
    version = 0

    def attempt() -> float:
        nonlocal version
        expect_problem(ask(gateway.address, request(ALIAS_B)), 404)
        version = next(versions)
        control.publish(encode(with_b(found, version)), version)
        took = until_b(gateway, 200)
        assert decode((gateway.folder / "snapshots" / "snapshot").read_bytes()).version == version
        assert (
            decode((gateway.folder / "snapshots" / "snapshot.previous").read_bytes()).version == version - 1
        )
        version = next(versions)
        control.publish(encode(changed(found, version=version)), version)
        until_b(gateway, 404)
        return took

    in_time(attempt, 1.0)


def test_a_revoked_key_is_refused_within_a_second_also_during_a_stream(fed: Fed) -> None:
    """The stream ends without looking whole, its call is cancelled, and the next request is 401."""
    gateway, upstream, control, found = fed
    keys = tuple(key for key in found.keys if key.id != f"id-{APP}")
    versions = itertools.count(2)

    def publish(**fields: object) -> None:
        version = next(versions)
        control.publish(encode(changed(found, version=version, **fields)), version)

    def attempt() -> float:
        publish()
        upstream.behave = Talk.answer
        until_answered(gateway.address)
        upstream.behave = drip
        with RawClient(gateway.address) as client, RawClient(gateway.address) as kept_alive:
            kept_alive.send(request("/v2/health/live", method="GET"))
            assert kept_alive.reply().status == 200
            client.send(request("/v2/models/a/generate_stream"))
            assert client.head()[0] == 200
            began = time.monotonic()
            publish(keys=keys)
            took = cut_after(client) - began
            kept_alive.send(request())
            expect_problem(kept_alive.reply(), 401)
        expect_problem(ask(gateway.address, request()), 401)
        return took

    in_time(attempt, 1.0)


def test_a_key_that_expires_is_refused_within_a_second_also_during_a_stream(fed: Fed) -> None:
    """Without any new snapshot: its own clock is enough."""
    gateway, upstream, control, found = fed
    versions = itertools.count(2)

    def attempt() -> float:
        version, ends = next(versions), time.time() + 3
        name = f"short-lived-{version}"
        keys = (*found.keys, key_entry(name, "app:caller", ends))
        control.publish(encode(changed(found, version=version, keys=keys)), version)
        data = request("/v2/models/a/generate_stream", credential=f"X-API-Key: {name}\r\n".encode())
        upstream.behave = Talk.answer
        wait_for(
            lambda: ask(gateway.address, data).status == 200 or time.time() > ends, what="the key to be known"
        )
        if time.time() > ends - 1:
            return math.inf
        upstream.behave = drip
        with RawClient(gateway.address) as client:
            client.send(data)
            assert client.head()[0] == 200
            cut_after(client)
            took = time.time() - ends
        assert took > -0.01
        expect_problem(ask(gateway.address, data), 401)
        return took

    in_time(attempt, 1.05)


def poisoned(change: Callable[[SnapshotDocument], SnapshotDocument]) -> Callable[[SnapshotDocument], bytes]:
    """The encoding of a changed document."""
    return lambda found: encode(change(found))


def resigned(old: bytes, new: bytes) -> Callable[[SnapshotDocument], bytes]:
    """The encoding with other bytes in it, and a checksum that holds."""

    def make(found: SnapshotDocument) -> bytes:
        body = encode(found).partition(b"\n")[2]
        assert old in body
        body = body.replace(old, new)
        return hashlib.sha256(body).hexdigest().encode() + b"\n" + body

    return make


POISON = [
    pytest.param(lambda found: encode(found)[:-20], id="cut short"),
    pytest.param(lambda found: encode(found).replace(b'"vision"', b'"visiom"'), id="flipped"),
    pytest.param(lambda _: b"", id="empty"),
    pytest.param(lambda _: b"<html>proxy error</html>", id="a proxy's page"),
    pytest.param(resigned(b'"format":1', b'"format":2'), id="another format"),
    pytest.param(resigned(b'"version":2', b'"version":true'), id="wrong type"),
    pytest.param(resigned(b'"created_at":', b'"created_at":1e999,"x":'), id="infinite time"),
    pytest.param(resigned(b'"version":2', b'"version":' + b"9" * 400), id="a version of 400 digits"),
    pytest.param(resigned(b'"format":1', b'"format":1,"x":' + b"[" * 100_000), id="nested deeply"),
    pytest.param(resigned(b'"installation":', b'"x":'), id="no installation"),
    pytest.param(poisoned(lambda found: changed(found, installation="")), id="a blank installation"),
    pytest.param(poisoned(lambda found: changed(found, installation="ff" * 16)), id="another installation"),
    pytest.param(poisoned(lambda found: changed(found, aliases=found.aliases * 2)), id="double size"),
    pytest.param(poisoned(lambda found: changed(found, keys=found.keys * 2)), id="double keys"),
    pytest.param(poisoned(lambda found: changed(found, models=())), id="no models"),
    pytest.param(
        poisoned(lambda found: changed(found, aliases=(alias_entry("", ("m", 1, 10_000)),))), id="blank name"
    ),
    pytest.param(
        poisoned(lambda found: changed(found, aliases=(alias_entry("a", ("m", 1, 9_999)),))), id="weights"
    ),
    pytest.param(
        poisoned(lambda found: changed(found, aliases=(alias_entry("a", ("m", 1, 10_000), team=""),))),
        id="team",
    ),
    pytest.param(
        poisoned(
            lambda found: changed(found, policy=PolicyEntry(grants=(("role:x", "*", "*", "infer", "Deny"),)))
        ),
        id="unknown effect",
    ),
    pytest.param(
        poisoned(lambda found: changed(found, policy=PolicyEntry(grants=(("", "", "", "", "allow"),)))),
        id="blank rule",
    ),
]


@pytest.mark.parametrize("make", POISON)
def test_a_poisoned_snapshot_never_activates(fed: Fed, make: Callable[[SnapshotDocument], bytes]) -> None:
    """The last good one goes on being served, the disk keeps it, the refusal is counted, and the next good one is taken."""
    gateway, _, control, found = fed
    control.publish(make(changed(found, version=2)), 2)
    wait_for(lambda: refusals(gateway) > 0, 3, "the refusal to be counted")
    assert ask(gateway.address, request()).status == 200
    assert decode((gateway.folder / "snapshots" / "snapshot").read_bytes()).version == 1
    assert control.polls < 20
    control.publish(encode(with_b(found, 3)), 3)
    wait_for(lambda: ask(gateway.address, request(ALIAS_B)).status == 200, 4, "the next good snapshot")


def test_another_installation_is_refused_until_somebody_means_it(fed: Fed) -> None:
    """Each of its versions once, the worker's own number too, also after a restart, and the log says what to do; with
    the snapshots removed and the gateway restarted it is taken.
    """
    gateway, _, control, found = fed
    words = "belongs to another installation; if the database was replaced on purpose, remove DATA/snapshots"
    other = changed(with_b(found, 2), installation="ff" * 16)
    for count, version in enumerate((2, 3), start=1):
        control.publish(encode(changed(other, version=version)), version)
        wait_for(lambda: refusals(gateway) == count, 4, "the refusal to be counted")  # noqa: B023
    polls = control.polls
    wait_for(lambda: control.polls > polls, 9, "the worker to ask again")
    assert (gateway.log.count(words), refusals(gateway)) == (2, 2)
    expect_problem(ask(gateway.address, request(ALIAS_B)), 404)
    gateway.stop()
    gateway.start()
    until_answered(gateway.address)
    wait_for(lambda: refusals(gateway) == 1, 4, "the refusal to be counted again")
    gateway.stop()
    shutil.rmtree(gateway.folder / "snapshots")
    gateway.start()
    until_answered(gateway.address, path=ALIAS_B)


def test_a_restored_backup_is_taken(fed: Fed) -> None:
    """The database of the same installation, set back by some versions, decides again."""
    gateway, _, control, found = fed

    def attempt() -> float:
        control.publish(encode(with_b(found, 5)), 5)
        until_b(gateway, 200)
        control.publish(encode(changed(found, version=3)), 3)
        return until_b(gateway, 404)

    in_time(attempt, 1.0)
    assert refusals(gateway) == 0


def refusals(gateway: Gateway) -> float:
    """`maas_snapshot_refused_total` of the data plane."""
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.ops_port}/metrics", timeout=PATIENT_S) as reply:
        lines = reply.read().decode().splitlines()
    return sum(
        float(line.split()[-1])
        for line in lines
        if line.startswith('maas_snapshot_refused_total{plane="data"}')
    )


@pytest.mark.parametrize("damage", [b"", b"x" * 1000, None], ids=["empty", "garbage", "a folder"])
def test_a_damaged_file_falls_back_to_the_one_before(tmp_path: Path, damage: bytes | None) -> None:
    """A restart without a control plane serves from the previous snapshot."""
    upstream = Upstream()
    gateway = Gateway(tmp_path, document(upstream.url))
    gateway.write_snapshot(encode(document(upstream.url)), "snapshot.previous")
    if damage is None:
        (tmp_path / "snapshots" / "snapshot").unlink()
        (tmp_path / "snapshots" / "snapshot").mkdir()
    else:
        gateway.write_snapshot(damage)
    try:
        until_answered(gateway.start().address)
    finally:
        gateway.stop()
        upstream.close()


def test_a_poisoned_file_is_refused_at_the_start(tmp_path: Path) -> None:
    """With nothing good on disk the gateway starts, says that it is not ready, and lets nobody in."""
    bad = changed(document(), aliases=document().aliases * 2)
    with running(tmp_path, bad) as gateway:
        expect_problem(ask(gateway.address, request("/v2/health/ready", method="GET")), 503)
        expect_problem(ask(gateway.address, request()), 401)
        assert ask(gateway.address, request("/v2/health/live", method="GET")).status == 200


def test_the_control_plane_may_go_and_the_gateway_be_killed(fed: Fed) -> None:
    """With the control plane gone, kill -9 and a new start: still the last good snapshot."""
    gateway, _, control, found = fed
    control.publish(encode(with_b(found, 2)), 2)
    until_b(gateway, 200)
    threading.Thread(target=control.close, daemon=True).start()
    assert ask(gateway.address, request()).status == 200
    gateway.signal(signal.SIGKILL)
    gateway.wait()
    gateway.start()
    until_answered(gateway.address, path=ALIAS_B)


def test_snapshots_in_a_tight_loop_never_let_a_stranger_in_nor_a_caller_out(fed: Fed) -> None:
    """While one snapshot after another activates, every answer is the right one."""
    gateway, _, control, found = fed
    stop = threading.Event()

    def publish() -> None:
        version = 1
        while not stop.is_set():
            version += 1
            control.publish(encode(msgspec.structs.replace(found, version=version)), version)
            time.sleep(0.005)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        stranger = b"X-API-Key: key-of-stranger\r\n"
        with RawClient(gateway.address) as client:
            until = time.monotonic() + 1.5
            while time.monotonic() < until:
                client.send(request() + request(credential=stranger))
                assert client.reply().status == 200
                assert client.reply().status == 404
    finally:
        stop.set()
        thread.join()
