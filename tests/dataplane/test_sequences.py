"""A gateway in front of two scripted servers: where requests of a sequence go, what they carry, and when they go nowhere."""

import gzip
import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.snapshot.document import PoolEntry, SnapshotDocument
from tests.dataplane.raw import RawClient, Reply, request, until_answered
from tests.dataplane.upstream import Talk, Upstream
from tests.db.servers import Redis
from tests.gateway_process import PINNER, Gateway, alias_entry, changed, document, running, wait_for

MOST = 64
IDLE_S = 5.0
TENSOR = b'{"name":"x","datatype":"INT32","shape":[1],"data":[1]}'
UNLOADED = b'{"error":"Request for unknown model: \'m\' version 1 is not found"}'


class Pair:
    """The gateway and its servers; `behave` says how both of them answer inferences."""

    def __init__(self, gateway: Gateway, *servers: Upstream) -> None:
        self.gateway = gateway
        self.servers = servers
        self.idle_s = 60.0
        self.renew()

    def renew(self) -> None:
        """Answer well, and know of nothing that was asked before."""
        self.behave: Callable[[Talk], object] = Talk.answer
        for server in self.servers:
            server.renew()
            server.behave = self._answer

    def _answer(self, talk: Talk) -> None:
        if talk.path.endswith(b"/config"):
            micros = int(self.idle_s * 1e6)
            talk.answer(200, b'{"sequence_batching":{"max_sequence_idle_microseconds":%d}}' % micros)
        else:
            talk.take_body()
            self.behave(talk)

    @property
    def inferences(self) -> list[tuple[int, Talk]]:
        """What the servers were asked, and which."""
        return [
            (number, talk)
            for number, server in enumerate(self.servers)
            for talk in server.talks
            if talk.path.endswith(b"/infer")
        ]

    def ask(self, sequence_id: object, alias: str = "a", key: str | None = None, **flags: bool) -> Reply:
        """One small request of a sequence."""
        parameters = {"sequence_id": sequence_id} | flags
        text = b'{"inputs":[%b],"parameters":%b}' % (TENSOR, json.dumps(parameters).encode())
        return self.send(text, alias=alias, key=key)

    def send(self, body: bytes, headers: bytes = b"", alias: str = "a", key: str | None = None) -> Reply:
        """One request."""
        more = {} if key is None else {"credential": f"X-API-Key: {key}\r\n".encode()}
        with RawClient(self.gateway.address) as client:
            client.send(request(f"/v2/models/{alias}/infer", body, headers=headers, **more))  # type: ignore[arg-type]
            return client.reply()


def served(*servers: Upstream, version: int = 1) -> SnapshotDocument:
    """Alias `a` on this version, from these servers."""
    found = document(*(server.url for server in servers))
    aliases = (alias_entry("a", ("m", version, 10_000)), *found.aliases[1:])
    pool = PoolEntry("main", "triton", tuple(server.url for server in servers))
    return changed(found, aliases=aliases, pools=(pool,))


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    one, other = Upstream(), Upstream()
    folder = tmp_path_factory.mktemp("gateway")
    with running(folder, served(one, other), SEQUENCES__MOST_OF_EACH=MOST) as gateway:
        until_answered(gateway.address)
        yield Pair(gateway, one, other)
    one.close()
    other.close()


@pytest.fixture
def pair(started: Pair) -> Iterator[Pair]:
    started.renew()
    yield started
    started.renew()
    assert started.send(b'{"inputs":[]}').status == 200


def told(talk: Talk) -> dict[str, Any]:
    """The JSON that a server was sent."""
    length = {name.lower(): value for name, value in talk.fields}.get(b"inference-header-content-length")
    found: dict[str, Any] = json.loads(talk.body if length is None else talk.body[: int(length)])
    return found


def test_a_sequence_goes_to_one_server_under_one_number(pair: Pair) -> None:
    """Whatever else is in flight; nothing but the id is changed."""
    for number in range(8):
        pair.ask("s", sequence_start=number == 0)
        pair.send(b'{"inputs":[]}')
    asked = [(server, talk) for server, talk in pair.inferences if b"parameters" in talk.body]
    assert len(asked) == 8
    assert len({server for server, _ in asked}) == 1
    (number,) = {told(talk)["parameters"]["sequence_id"] for _, talk in asked}
    assert 0 < number < 2**63
    spelled = b'{"inputs":[%b],"parameters":{"sequence_id":%d,"sequence_start":true}}' % (TENSOR, number)
    assert asked[0][1].body == spelled


@pytest.mark.parametrize("start", [True, False])
@pytest.mark.parametrize(
    ("behave", "status"),
    [
        (Talk.reset, 502),
        (lambda talk: talk.send(b"nonsense\r\n\r\n"), 502),
        (lambda talk: talk.answer(500), 500),
        (lambda talk: talk.answer(503), 503),
    ],
)
def test_it_is_never_sent_twice(
    pair: Pair, behave: Callable[[Talk], object], status: int, start: bool
) -> None:
    """Neither to its server, which may have gone on with it, nor to another."""
    if not start:
        pair.ask("once", sequence_start=True)
        for server in pair.servers:
            server.talks.clear()
    pair.behave = behave
    reply = pair.ask("once", sequence_start=start)
    assert reply.status == status
    assert len(pair.inferences) == 1
    pair.behave = Talk.answer
    pair.ask("once")
    assert len({server for server, _ in pair.inferences}) == 1


@pytest.mark.parametrize(
    "parameters",
    [
        b'{"sequence_id":1.5}',
        b'{"sequence_id":[7]}',
        b'{"sequence_id":-1}',
        b'{"sequence_id":"%b"}' % (b"a" * 257),
        b'{"sequence_id":"\xff"}',
        b'{"sequence_id":"\\ud800"}',
        b'{"sequence_id":7,"sequence_start":1}',
        b'{"sequence_end":"true"}',
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_no_sequence_is_refused_by_the_gateway(pair: Pair, parameters: bytes, packed: bool) -> None:
    """400 with the parameter's name, and no server is asked; compressed, too."""
    text = b'{"inputs":[%b],"parameters":%b}' % (TENSOR, parameters)
    if packed:
        reply = pair.send(gzip.compress(text), headers=b"Content-Encoding: gzip\r\n")
    else:
        reply = pair.send(text)
    assert reply.status == 400
    assert "sequence" in json.loads(reply.body)["detail"]
    assert not pair.inferences


def test_a_server_that_has_unloaded_its_version_has_lost_it(pair: Pair) -> None:
    """409, though another one has the version: that has no state. So it is after the next probe, too."""
    pair.ask("unloaded", sequence_start=True)
    ((where, _),) = pair.inferences
    pair.behave = lambda talk: talk.answer(400, UNLOADED)
    reply = pair.ask("unloaded")
    assert len(pair.inferences) == 2
    server = pair.servers[where]
    loaded, server.loaded = server.loaded, (("m", 2),)
    try:
        document = json.loads(reply.body)
        assert (reply.status, document["type"], document["reason"]) == (
            409,
            "urn:maas:problem:sequence-lost",
            "unloaded",
        )
        pair.renew()
        assert pair.ask("unloaded").status == 409
        assert not pair.inferences
        assert pair.ask("unloaded", sequence_start=True).status == 200
        assert pair.ask("unloaded").status == 200
        assert {number for number, _ in pair.inferences} == {1 - where}
    finally:
        server.loaded = loaded
        wait_for(lambda: both_answer(pair), what="both have it again")


def both_answer(pair: Pair) -> bool:
    """Whether requests go to both servers."""
    pair.renew()
    for _ in range(4):
        pair.send(b'{"inputs":[]}')
    return {server for server, _ in pair.inferences} == {0, 1}


def test_a_server_that_is_not_ready_keeps_what_it_has(pair: Pair) -> None:
    """503 until it is ready again, and no other server is asked meanwhile."""
    pair.ask("waits", sequence_start=True)
    ((where, _),) = pair.inferences
    pair.servers[where].ready = False
    try:
        wait_for(lambda: pair.ask("waits").status == 503, what="it is seen not to be ready")
        reply = pair.ask("waits")
        assert (reply.status, reply.header("Retry-After")) == (503, "1")
        assert "sequence_start" in json.loads(reply.body)["detail"]
    finally:
        pair.servers[where].ready = True
    wait_for(lambda: pair.ask("waits").status == 200, what="it is ready again")
    assert {server for server, _ in pair.inferences} == {where}


def test_large_tensors_pass_behind_another_head(pair: Pair) -> None:
    """Whole or in chunks, a body with a JSON part goes on as it comes; only that part is another one."""
    tensor = bytes(range(256)) * 20_000
    text = b'{"parameters":{"sequence_id":"large","sequence_start":true},"inputs":[]}'
    declared = b"Inference-Header-Content-Length: %d\r\n" % len(text)
    assert pair.send(text + tensor, declared).status == 200
    with RawClient(pair.gateway.address) as client:
        head = request(headers=declared + b"Transfer-Encoding: chunked\r\n", length=False, body=b"")
        client.send(head)
        whole = text + tensor
        for at in range(0, len(whole), 100_000):
            piece = whole[at : at + 100_000]
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        client.send(b"0\r\n\r\n")
        assert client.reply().status == 200
    assert len(pair.inferences) == 2
    for _, talk in pair.inferences:
        document = told(talk)
        assert 0 < document["parameters"].pop("sequence_id") < 2**63
        assert document == {"parameters": {"sequence_start": True}, "inputs": []}
        assert talk.body.endswith(b'"inputs":[]}' + tensor)


def test_what_is_all_json_may_name_its_sequence_early_only(pair: Pair) -> None:
    """Behind 32 KiB nobody has seen it in time, and it goes to no server; before them, however large the rest is."""
    inputs = b'"inputs":[{"name":"x","shape":[1],"data":[' + b"1," * 200_000 + b"1]}]"
    early = b'{"parameters":{"sequence_id":7,"sequence_start":true},%b}' % inputs
    assert pair.send(early).status == 200
    ((_, talk),) = pair.inferences
    assert told(talk)["inputs"] == json.loads(early)["inputs"]
    late = b'{%b,"parameters":{"sequence_id":7}}' % inputs
    reply = pair.send(late)
    assert reply.status == 400
    assert "32 KiB" in json.loads(reply.body)["detail"]
    hidden = b'{%b,"parameters":{"\\u0073equence_id":7}}' % inputs
    assert pair.send(hidden).status == 400
    reply = pair.send(b'{"parameters":{"sequence_id":7},"inputs":["%b"]}' % (b"x" * 5_000_000))
    assert reply.status == 413
    assert "binary" in json.loads(reply.body)["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b'{ "inputs": [ {"name":"sequence_id", "data":["\\u0041"]} ] }',
        b'{"parameters" : { "x" : 1.50 },"inputs":["sequence_id"]}',
        b'{"x":NaN,"inputs":["sequence_id\\u0041"]}',
        b'{"parameters":{"sequence_id":0},"inputs":[ ]}',
    ],
)
def test_a_request_of_no_sequence_passes_byte_for_byte(pair: Pair, body: bytes) -> None:
    """Also where it looks like one."""
    assert pair.send(body).status == 200
    ((_, talk),) = pair.inferences
    assert talk.body == body


def test_who_has_too_many_open_begins_no_more(pair: Pair) -> None:
    """429 until one ends or lapses; the others go on, and another caller's are not counted with them."""
    for number in range(MOST):
        reply = pair.ask(number + 1, sequence_start=True)
        if reply.status == 429:
            break  # some were open already
    else:
        reply = pair.ask(MOST + 1, sequence_start=True)
    assert reply.status == 429
    assert int(reply.header("Retry-After") or 0) == 60
    assert pair.ask(MOST + 1, key=PINNER, sequence_start=True).status == 200
    assert pair.ask(1).status == 200
    assert pair.ask(1, sequence_end=True).status == 200
    assert pair.ask(MOST + 1, sequence_start=True).status == 200
    assert pair.ask(MOST + 2, sequence_start=True).status == 429
    for number in range(1, MOST + 3):
        pair.ask(number, sequence_end=True)


@pytest.mark.slow
def test_one_that_was_left_alone_is_forgotten(tmp_path: Path) -> None:
    """After the time that its model's configuration says: it holds nobody's room any more."""
    server = Upstream()
    names = itertools.count(1)
    with running(tmp_path, served(server), SEQUENCES__MOST_OF_EACH=1, SEQUENCES__MOST=1) as gateway:
        until_answered(gateway.address)
        pair = Pair(gateway, server)
        pair.idle_s = IDLE_S

        def status() -> int:
            return pair.ask(next(names), sequence_start=True).status

        wait_for(lambda: status() == 429, what="there is no room")
        began = time.monotonic()
        wait_for(lambda: status() == 200, what="the first have lapsed")
        # Sooner than a call may take at most: its end is what counts.
        assert time.monotonic() - began < 30
    server.close()


@pytest.mark.slow
def test_hosts_that_share_a_redis_go_by_the_same_places(tmp_path: Path, own_redis: Redis) -> None:
    """A sequence that began through one of them goes on through the other, which already sends new ones to another version."""
    server = Upstream()
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    shared = {"SEQUENCES__REDIS_URL": own_redis.url, "SEQUENCES__WAIT_S": 5}
    with (
        running(folders[0], served(server, version=1), **shared) as old,
        running(folders[1], served(server, version=2), **shared) as new,
    ):
        for gateway in (old, new):
            until_answered(gateway.address)
        here, there = Pair(old, server), Pair(new, server)

        def by(pair: Pair, name: str, *, start: bool = False, end: bool = False) -> str | None:
            return pair.ask(name, sequence_start=start, sequence_end=end).header("Maas-Served-By")

        assert by(here, "shared", start=True) == "m/1"
        assert by(there, "own", start=True) == "m/2"
        assert (by(there, "shared"), by(here, "own")) == ("m/1", "m/2")
        numbers = {told(talk)["parameters"]["sequence_id"] for _, talk in there.inferences}
        assert len(numbers) == 2
        assert by(there, "shared", end=True) == "m/1"
        assert by(there, "shared") == "m/2"
        own_redis.kill()
        reply = here.ask("own")
        assert (reply.status, reply.header("Retry-After")) == (503, "1")
        assert here.send(b'{"inputs":[]}').status == 200
        own_redis.start()
        wait_for(lambda: here.ask("own", sequence_start=True).status == 200, what="it is asked again")
    server.close()


@pytest.mark.slow
@pytest.mark.parametrize(("behave", "status"), [(Talk.answer, 200), (Talk.reset, 502)])
@pytest.mark.parametrize("as_json", [True, False])
def test_a_large_request_is_gone_with_its_call(
    pair: Pair, behave: Callable[[Talk], object], status: int, as_json: bool
) -> None:
    """None waits for the garbage collector, which looks rarely."""
    text = b'{"parameters":{"sequence_id":"large","sequence_start":true},"inputs":[]}'
    body, headers = text + bytes(3_000_000), b"Inference-Header-Content-Length: %d\r\n" % len(text)
    if as_json:
        body, headers = text[:-2] + b"1," * 1_500_000 + b"1]}", b""

    def send() -> int:
        found = pair.send(body, headers).status
        for server in pair.servers:
            server.talks.clear()
        return found

    pair.behave = behave
    assert send() == status
    with pair.gateway.memory_growth() as growth:
        for _ in range(40):
            assert send() == status
        assert growth() < 100 * 1024 * 1024
