"""Checks before the load: a peer is measured only if it does the job, as a benchmark of errors is worth nothing."""

import http.client
import json

from loadtests.payloads import MODEL, VERSIONS, Payload, json_payload
from loadtests.peers.peer import CREDENTIAL_HEADER, ROUTING_HEADER, Peer
from loadtests.probe import TIMEOUT_S, Answer, ask
from loadtests.processes import BenchError
from loadtests.replies import READ_HEADER, infer_reply

_SPLIT_REQUESTS = 1000
_CANDIDATE_SHARE = (0.04, 0.18)
"""Bounds for the 10 % arm over 1000 requests: six standard deviations (0.0095), and some, to each side."""


def check_peer(peer: Peer, payload: Payload) -> None:
    """Raise `BenchError` unless the peer answers this payload rightly, refuses strangers and splits 90/10."""
    connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=TIMEOUT_S)
    try:
        _check_reply(peer, payload, ask(connection, peer.path, payload.body, peer.headers(payload)))
        if peer.guarded:
            _check_refusals(peer)
            _check_split(peer, connection)
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"{peer.name}: the request for {payload.title} failed: {error!r}") from error
    finally:
        connection.close()


def _check_reply(peer: Peer, payload: Payload, answer: Answer) -> None:
    if answer.status != 200:
        raise BenchError(f"{peer.name}: {payload.title} got {answer.status}: {answer.body[:300]!r}")
    if answer.body not in {infer_reply(version) for version in VERSIONS}:
        raise BenchError(f"{peer.name}: the reply is not the upstream's: {answer.body[:300]!r}")
    read = answer.headers.get(READ_HEADER.lower())
    if read is not None and int(read) != len(payload.body):
        raise BenchError(f"{peer.name}: the upstream read {read} of {len(payload.body)} bytes")


def _check_refusals(peer: Peer) -> None:
    """A key that nobody holds, and none at all. Each on its own connection: a refusal may end it."""
    for key in (f"{peer.key[:-4]}zzzz", None):
        connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=TIMEOUT_S)
        try:
            headers = {} if key is None else {CREDENTIAL_HEADER: key}
            status = ask(connection, peer.path, b"{}", headers).status
        finally:
            connection.close()
        if status != 401:
            raise BenchError(f"{peer.name}: {'a wrong' if key else 'no'} key got {status}, not 401")


def _check_split(peer: Peer, connection: http.client.HTTPConnection) -> None:
    """Both versions answer, in about the shares of the split."""
    payload = json_payload()
    candidate = 0
    for number in range(_SPLIT_REQUESTS):
        headers = {**peer.headers(payload), ROUTING_HEADER: f"check-{number}"}
        answer = ask(connection, peer.path, payload.body, headers)
        if answer.status != 200:
            raise BenchError(f"{peer.name}: request {number} got {answer.status}: {answer.body[:300]!r}")
        reply = json.loads(answer.body)
        if reply["model_name"] != MODEL or int(reply["model_version"]) not in VERSIONS:
            raise BenchError(f"{peer.name}: request {number} was answered by {reply['model_name']}")
        candidate += int(reply["model_version"]) == VERSIONS[1]
    share = candidate / _SPLIT_REQUESTS
    if not _CANDIDATE_SHARE[0] <= share <= _CANDIDATE_SHARE[1]:
        raise BenchError(f"{peer.name}: version {VERSIONS[1]} got {share:.1%} of the traffic instead of 10 %")
