"""Messages of a sequence: all to one server, under one number, and nowhere else when that cannot answer."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2

from loadtests.processes import free_port
from tests.dataplane.grpc.conftest import Asked, Client, RpcServer, reply_of, rpc_document
from tests.dataplane.raw import until_answered
from tests.dataplane.upstream import Talk
from tests.gateway_process import APP, PINNER, running

CODE = grpc.StatusCode


def configured(talk: Talk) -> None:
    """It keeps sequences for a minute."""
    talk.answer(200, b'{"sequence_batching":{"max_sequence_idle_microseconds":60000000}}')


class Pair:
    """A client, and the two servers of the gateway's pool."""

    def __init__(self, client: Client, *servers: RpcServer) -> None:
        self.client = client
        self.servers = servers

    def ask(self, name: int | str, key: str = APP, *, start: bool = False, version: str = "") -> grpc.Future:
        """One message of a sequence."""
        return self.client.call(message(name, start=start, version=version), key=key)

    def asked(self) -> dict[int, list[Asked]]:
        """What each server was asked, if it was."""
        return {number: each.asked for number, each in enumerate(self.servers) if each.asked}


def message(name: int | str, *, start: bool = False, version: str = "") -> bytes:
    made = service_pb2.ModelInferRequest(
        model_name="a", model_version=version, raw_input_contents=[b"tensor"]
    )
    if isinstance(name, str):
        made.parameters["sequence_id"].string_param = name
    else:
        made.parameters["sequence_id"].int64_param = name
    made.parameters["sequence_start"].bool_param = start
    return bytes(made.SerializeToString())


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    servers = RpcServer(), RpcServer()
    for server in servers:
        server.probed.behave = configured
    with running(tmp_path, rpc_document(*servers), INFERENCE__GRPC_PORT=free_port()) as gateway:
        until_answered(gateway.address)
        client = Client(gateway)
        yield Pair(client, *servers)
        client.channel.close()
    for server in servers:
        server.close()


def number_of(asked: Asked) -> int:
    """The id that the server was told."""
    return int(asked.request.parameters["sequence_id"].int64_param)


def test_one_server_is_asked_under_one_number(pair: Pair) -> None:
    """Another caller's, and another version's, have another; the rest of the message is as it was."""
    for at in range(6):
        reply_of(pair.ask("mine", start=at == 0))
    ((_, asked),) = pair.asked().items()
    numbers = {number_of(each) for each in asked}
    assert len(numbers) == 1
    assert asked[0].message.startswith(message("mine", start=True))
    reply_of(pair.ask("mine", PINNER, start=True))
    reply_of(pair.ask("mine", start=True, version="1"))
    everything = [each for every in pair.asked().values() for each in every]
    assert len({number_of(each) for each in everything}) == 3


@pytest.mark.parametrize("start", [True, False])
def test_it_is_sent_once(pair: Pair, start: bool) -> None:
    """A server that does not have the version any more has lost it: ABORTED, and no other one is asked."""

    def unloaded(asked: Asked) -> bytes:
        asked.context.abort(CODE.NOT_FOUND, "Request for unknown model: 'm' version 1 is not found")
        return b""

    reply_of(pair.ask(5, start=True))
    ((where, asked),) = pair.asked().items()
    pair.servers[where].behave = unloaded
    lost = pair.ask(5, start=start)
    assert lost.code() is CODE.ABORTED
    document: dict[str, Any] = json.loads(dict(lost.trailing_metadata())["maas-problem-bin"])
    assert (document["reason"], document["sequence_id"]) == ("unloaded", 5)
    assert (list(pair.asked()), len(asked)) == ([where], 2)


def test_a_long_name_does_not_spoil_the_error_about_it(pair: Pair) -> None:
    """Clients take some kilobytes of metadata: the longest name is said whole, and one that is longer is not said again."""

    def unloaded(asked: Asked) -> bytes:
        asked.context.abort(CODE.NOT_FOUND, "Request for unknown model: 'm' version 1 is not found")
        return b""

    name = "é" * 256
    reply_of(pair.ask(name, start=True))
    ((where, _),) = pair.asked().items()
    pair.servers[where].behave = unloaded
    lost = pair.ask(name)
    assert lost.code() is CODE.ABORTED
    found = dict(lost.trailing_metadata())["maas-problem-bin"]
    assert json.loads(found)["sequence_id"] == name
    refused = pair.ask("é" * 100_000)
    assert refused.code() is CODE.INVALID_ARGUMENT
    assert "256 characters" in refused.details()


def test_a_port_that_is_closed_is_waited_for(pair: Pair) -> None:
    """UNAVAILABLE, each time: its server may be back with what it had."""
    reply_of(pair.ask(5, start=True))
    ((where, asked),) = pair.asked().items()
    pair.servers[where].stop_rpc()
    for _ in range(3):
        refused = pair.ask(5)
        assert refused.code() is CODE.UNAVAILABLE
        assert "sequence_start" in refused.details()
    assert (list(pair.asked()), len(asked)) == ([where], 1)
