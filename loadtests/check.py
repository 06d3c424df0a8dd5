"""Checks before the load: a peer is measured only if it does the job, as a benchmark of errors is worth nothing."""

from loadtests.caller import OK, STRANGER, Answer, Call, caller, right_replies
from loadtests.payloads import MODEL, VERSIONS, Payload, json_payload, small_grpc_payload
from loadtests.peers.peer import CREDENTIAL_HEADER, ROUTING_HEADER, Peer
from loadtests.processes import BenchError

_SPLIT_REQUESTS = 1000
_CANDIDATE_SHARE = (0.04, 0.18)
"""Bounds for the 10 % arm over 1000 requests: six standard deviations (0.0095), and some, to each side."""


def check_peer(peer: Peer, payload: Payload) -> None:
    """Raise `BenchError` unless the peer answers this payload rightly, refuses strangers and splits 90/10."""
    if payload.streams:
        # The listener takes only whole streams, from the warm-up on.
        if peer.guarded:
            _check_refusals(peer, payload)
        return
    with caller(peer.name, peer.port, peer.path, payload) as call:
        _check_reply(peer, payload, call(payload.body, peer.headers(payload)))
        if peer.guarded:
            small = small_grpc_payload() if payload.grpc else json_payload()
            _check_refusals(peer, small)
            _check_split(peer, small, call)


def _check_reply(peer: Peer, payload: Payload, answer: Answer) -> None:
    if answer.outcome != OK:
        raise BenchError(f"{peer.name}: {payload.title} got {answer.outcome}: {answer.body[:300]!r}")
    if answer.body not in right_replies(payload):
        raise BenchError(f"{peer.name}: the reply is not the upstream's: {answer.body[:300]!r}")
    if answer.read is not None and answer.read != len(payload.body):
        raise BenchError(f"{peer.name}: the upstream read {answer.read} of {len(payload.body)} bytes")


def _check_refusals(peer: Peer, payload: Payload) -> None:
    """A key that nobody holds, and none at all. Each on its own connection: a refusal may end it."""
    for key in (f"{peer.key[:-4]}zzzz", None):
        headers = payload.headers if key is None else {**payload.headers, CREDENTIAL_HEADER: key}
        with caller(peer.name, peer.port, peer.path, payload) as call:
            outcome = call(payload.body, headers).outcome
        if outcome != STRANGER:
            raise BenchError(f"{peer.name}: {'a wrong' if key else 'no'} key got {outcome}, not refused")


def _check_split(peer: Peer, payload: Payload, call: Call) -> None:
    """Both versions answer, in about the shares of the split."""
    versions = {f"{MODEL}/{version}": version for version in VERSIONS}
    candidate = 0
    for number in range(_SPLIT_REQUESTS):
        answer = call(payload.body, {**peer.headers(payload), ROUTING_HEADER: f"check-{number}"})
        if answer.outcome != OK:
            raise BenchError(f"{peer.name}: request {number} got {answer.outcome}: {answer.body[:300]!r}")
        if answer.served_by not in versions:
            raise BenchError(f"{peer.name}: request {number} was answered by {answer.served_by!r}")
        candidate += versions[answer.served_by] == VERSIONS[1]
    share = candidate / _SPLIT_REQUESTS
    if not _CANDIDATE_SHARE[0] <= share <= _CANDIDATE_SHARE[1]:
        raise BenchError(f"{peer.name}: version {VERSIONS[1]} got {share:.1%} of the traffic instead of 10 %")
