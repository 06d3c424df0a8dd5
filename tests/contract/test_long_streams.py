"""A stream over gRPC outlives whatever operators do meanwhile; only the end of its caller's own right ends it.

Ten minutes of that, with a thousand streams: `python -m loadtests.idle_streams --seconds 600`.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.contract.conftest import TEAM, Served
from tests.contract.grpc_tensors import connect
from tests.contract.harness import Key, Operator, done, wait_until
from tests.contract.test_tritonclient_streams import Streaming, digit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ALIAS = "flipping"
STREAMS = 12


@pytest.fixture
def operator(served: Served) -> Iterator[Operator]:
    """The control plane's API."""
    with served.gateway.operator() as found:
        yield found


def answered_by(stream: Streaming) -> str | None:
    """The version that answers a message of the stream; None while the alias is not there."""
    digit(stream, ALIAS, "x")
    result, error = stream.next()
    return None if error is not None else str(result.get_response().model_version)


def streams_of(served: Served, key: Key) -> list[Streaming]:
    """Open streams, each on a client of its own."""
    return [Streaming(connect(served, key)) for _ in range(STREAMS)]


def test_streams_live_across_whatever_changes(served: Served, operator: Operator) -> None:
    """Idle ones too: aliases move, keys come and go, rights and pools change, and each message goes where its alias points
    then. Once their own key is revoked they end, whether they are idle or not.
    """
    own = operator.key("app:shop")
    operator.alias(ALIAS, "digits@1", team=TEAM)
    streams = streams_of(served, own)
    first, *idle = streams
    wait_until(lambda: answered_by(first) == "1", "the alias to be there")
    assert [answered_by(stream) for stream in idle] == ["1"] * len(idle)

    def with_another_key() -> None:
        other = operator.key("app:shop")
        done(operator.delete(f"/keys/{other.id}"))

    changes: list[Callable[[], object]] = [
        with_another_key,
        lambda: operator.alias(f"{ALIAS}-beside", "digits@2", team=TEAM),
        lambda: operator.role("app:passer-by", "consumer", TEAM),
        lambda: operator.pool(f"{ALIAS}-pool", "http://127.0.0.1:9"),
    ]
    version = "1"
    for number, change in enumerate(changes):
        version = str(2 - number % 2)
        change()
        operator.alias(ALIAS, f"digits@{version}", team=TEAM)
        wait_until(lambda version=version: answered_by(first) == version, "the change to be live")  # type: ignore[misc]
    # Those that were idle all the while.
    assert [answered_by(stream) for stream in idle] == [version] * len(idle)
    done(operator.delete(f"/keys/{own.id}"))
    for stream in streams:
        _, error = stream.next()
        assert error is not None
        assert error.status() == "StatusCode.UNAUTHENTICATED"
    for stream in streams:
        stream.caller.client.stop_stream()
        stream.caller.client.close()
