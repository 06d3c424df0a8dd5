"""Tokens at the inference port: a real issuer on loopback, a real gateway, and whatever callers may try."""

import json
import re
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dataplane.raw import RawClient, Reply, ask, chunked, expect_problem, request
from tests.dataplane.upstream import Talk, Upstream
from tests.gateway_process import APP, EXPIRED, Gateway, document, running, wait_for
from tests.tokens.issuer import Issuer, Signer, answer, encoded

pytestmark = pytest.mark.slow

LEEWAY_S = 1
HIDDEN = "/v2/models/hidden/infer"


def write_settings(folder: Path, issuer: Issuer) -> None:
    """What an operator declares: principals by client, the role of consumer in a team by group."""
    (folder / "maas.toml").write_text(
        f"""
[issuers.company]
issuer = "{issuer.url}"
audience = ["maas"]
principal = "app:{{azp}}"
algorithms = ["RS256", "ES256", "EdDSA"]
leeway_s = {LEEWAY_S}
refresh_s = 1

[[issuers.company.roles]]
claim = "groups"
value = "ml-vision-consumers"
role = "role:consumer"
team = "vision"

[[issuers.company.roles]]
claim = ["realm_access", "roles"]
value = "auditor"
role = "role:reader"
team = "*"
"""
    )


def bearer(token: str) -> bytes:
    """The header field."""
    return f"Authorization: Bearer {token}\r\n".encode()


def status(gateway: Gateway, token: str, path: str = "/v2/models/a/infer") -> int:
    """What a call with the token is answered."""
    return ask(gateway.address, request(path, credential=bearer(token))).status


class Trusting:
    """A gateway that trusts an issuer, in front of an upstream."""

    def __init__(self, gateway: Gateway, issuer: Issuer, upstream: Upstream) -> None:
        self.gateway, self.issuer, self.upstream = gateway, issuer, upstream

    def until(self, token: str, wanted: int) -> None:
        """Wait until calls with the token are answered so."""
        wait_for(lambda: status(self.gateway, token) == wanted, 20, f"{wanted} for the token")


@pytest.fixture(scope="module")
def signers() -> dict[str, Signer]:
    """Keys, made once."""
    return {
        "first": Signer("first"),
        "second": Signer("second", "ES256"),
        "third": Signer("third", "EdDSA"),
        "other": Signer("other"),
    }


@pytest.fixture(scope="module")
def standing(
    signers: dict[str, Signer], shared_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trusting]:
    """All of it."""
    issuer, folder = Issuer(signers["first"]), tmp_path_factory.mktemp("trusting")
    write_settings(folder, issuer)
    with running(folder, document(shared_upstream.url)) as gateway:
        yield Trusting(gateway, issuer, shared_upstream)
    issuer.close()


@pytest.fixture
def trusting(standing: Trusting, signers: dict[str, Signer]) -> Trusting:
    """All of it as good as new: the issuer signs with its first key and publishes that alone."""
    standing.upstream.renew()
    standing.issuer.behave = lambda _: False
    standing.issuer.publish(signers["first"])
    standing.until(standing.issuer.token(), 200)
    return standing


def test_a_token_is_a_credential(trusting: Trusting) -> None:
    """Its principal is that of the policy's rows, its calls are logged under that name, and it stays with the gateway."""
    token = trusting.issuer.token()
    reply = ask(trusting.gateway.address, request(credential=bearer(token)))
    assert (reply.status, reply.header("Maas-Served-By")) == (200, "m/1")
    assert token.encode() not in trusting.upstream.talks[-1].head
    wait_for(
        lambda: any(
            line["request_id"] == reply.header("X-Request-Id") and line["principal"] == "app:caller"
            for line in trusting.gateway.access_log()
        ),
        10,
        "the call in the access log",
    )
    logs = trusting.gateway.log + (trusting.gateway.folder / "logs" / "access.jsonl").read_text()
    assert token.rpartition(".")[2] not in logs


def test_claims_give_roles_in_their_team(trusting: Trusting) -> None:
    """Whom no row names may do what a group's role may, in that team alone; keys and tokens go side by side."""
    gateway, issuer = trusting.gateway, trusting.issuer
    assert status(gateway, issuer.token(azp="newcomer")) == 404
    consumer = issuer.token(azp="newcomer", groups=["x", "ml-vision-consumers"])
    assert status(gateway, consumer) == 200
    assert status(gateway, consumer, HIDDEN) == 404
    # The same principal without the group: decisions are not remembered for one and used for the other.
    assert status(gateway, issuer.token(azp="newcomer", groups=["x"])) == 404
    auditor = issuer.token(azp="newcomer", realm_access={"roles": ["auditor"]})
    assert status(gateway, auditor) == 403
    metadata = request("/v2/models/hidden", credential=bearer(auditor), method="GET")
    assert ask(gateway.address, metadata).status == 200
    assert ask(gateway.address, request()).status == 200


def bare(reply: Reply) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
    """A reply but for its request id."""
    request_id = reply.header("X-Request-Id") or "-"
    fields = tuple((name, value) for name, value in reply.headers if name != "X-Request-Id")
    return reply.status, fields, reply.body.replace(request_id.encode(), b"ID")


def test_every_refusal_is_byte_for_byte_the_same(trusting: Trusting, signers: dict[str, Signer]) -> None:
    """Whatever is wrong with a key or a token, all that its sender learns is that it is not accepted."""
    issuer, good = trusting.issuer, trusting.issuer.token()
    unsigned = b".".join((encoded({"alg": "none"}), encoded(issuer.claims()), b"")).decode()
    forger = Signer("first", "RS256", signers["other"].private)
    tokens = {
        "alg none": unsigned,
        "swapped": issuer.token(header={"alg": "HS256"}),
        "forged": issuer.token(signer=forger),
        "unknown key": issuer.token(signer=signers["other"]),
        "unknown crit": issuer.token(header={"crit": ["x"]}),
        "no exp": issuer.token(exp=None),
        "expired": issuer.token(exp=int(time.time()) - 60),
        "not yet": issuer.token(nbf=int(time.time()) + 60),
        "no aud": issuer.token(aud=None),
        "another aud": issuer.token(aud="another"),
        "another issuer": issuer.token(iss="https://id.example.com"),
        "no principal": issuer.token(azp="a b"),
        "garbage": "a.b.c",
        "dots": "..",
        "too long": issuer.token(pad="x" * 9000),
        "cut": good[:-3],
        "a key with a dot": f"{APP}.",
        "a key that is none": "maas_AAAAAAAA_" + "a" * 49,
        "an expired key": EXPIRED,
    }
    credentials = {name: bearer(token) for name, token in tokens.items()}
    credentials["a token as a key"] = f"X-API-Key: {good}\r\n".encode()
    credentials["a key that is none, as a key"] = b"X-API-Key: nothing\r\n"
    replies = {
        name: bare(ask(trusting.gateway.address, request(credential=credential)))
        for name, credential in credentials.items()
    }
    first = replies["alg none"]
    assert first[0] == 401
    assert {name: reply for name, reply in replies.items() if reply != first} == {}
    assert not trusting.upstream.talks[1:], "only the fixture's own call came through"


def test_two_credentials_are_refused_however_good(trusting: Trusting) -> None:
    """A token and a key, a token twice."""
    token = bearer(trusting.issuer.token())
    for credential in (token + f"X-API-Key: {APP}\r\n".encode(), token * 2):
        expect_problem(ask(trusting.gateway.address, request(credential=credential)), 401)


def test_refusals_are_counted_by_their_reason(trusting: Trusting) -> None:
    """What the sender is not told, the operator is; and how old the keys are."""

    def metrics() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{trusting.gateway.ops_port}/metrics") as reply:
            return str(reply.read().decode())

    def count(labels: str) -> float:
        found = re.search(rf"^maas_tokens_refused_total\{{{labels}\}} (.*)$", metrics(), re.MULTILINE)
        return float(found[1]) if found else 0.0

    cases: list[tuple[dict[str, Any], str]] = [
        ({"aud": "another"}, 'issuer="company",reason="audience"'),
        ({"iss": "https://id.example.com"}, 'issuer="",reason="issuer"'),
    ]
    for claims, labels in cases:
        before = count(labels)
        assert status(trusting.gateway, trusting.issuer.token(**claims)) == 401
        assert count(labels) == before + 1
    fetched = re.search(
        r'^maas_issuer_keys_fetched_timestamp_seconds\{issuer="company"\} (.*)$', metrics(), re.MULTILINE
    )
    assert fetched is not None
    assert time.time() - float(fetched[1]) < 60
    assert 'maas_issuer_keys{issuer="company"} 1.0' in metrics()


def test_keys_are_rotated_while_requests_run(trusting: Trusting, signers: dict[str, Signer]) -> None:
    """Once the new key is known no token that it signed is refused; those of the old key are good until it is withdrawn."""
    issuer, gateway = trusting.issuer, trusting.gateway
    old = issuer.token()
    wrong: list[int] = []
    stop = threading.Event()

    def call() -> None:
        known: Signer | None = None
        while not stop.is_set():
            signer = issuer.signers[0]
            found = status(gateway, issuer.token(signer=signer, jti=str(time.monotonic())))
            if found == 200:
                known = signer
            elif signer is known and signer in issuer.signers:
                wrong.append(found)

    caller = threading.Thread(target=call)
    caller.start()
    try:
        for name, before in (("second", "first"), ("third", "second")):
            issuer.publish(signers[name], signers[before])
            trusting.until(issuer.token(), 200)
            assert status(gateway, issuer.token(signer=signers[before])) == 200
        issuer.publish(signers["third"])
        trusting.until(old, 401)
        assert status(gateway, issuer.token()) == 200
    finally:
        stop.set()
        caller.join(30)
    assert wrong == []


def drip(talk: Talk) -> None:
    """A stream without an end."""
    talk.take_body()
    talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        talk.send(chunked(b"x", last=b""))
        time.sleep(0.02)


def stream(trusting: Trusting, token: str) -> RawClient:
    """A stream under way."""
    trusting.upstream.behave = drip
    client = RawClient(trusting.gateway.address, 20)
    client.send(request(credential=bearer(token)))
    assert client.head()[0] == 200
    return client


def cut(client: RawClient) -> None:
    """Read to the end, which must not look whole."""
    last = b""
    try:
        while piece := client.sock.recv(65536):
            last = piece
    except ConnectionResetError:
        pass
    assert not last.endswith(b"0\r\n\r\n")


def test_an_open_stream_ends_with_its_token(trusting: Trusting) -> None:
    """Within a second of its `exp`, the leeway added; the gateway needs nobody to tell it."""
    exp = int(time.time()) + 4
    with stream(trusting, trusting.issuer.token(exp=exp)) as client:
        cut(client)
        assert time.time() >= exp + LEEWAY_S


def test_an_open_stream_ends_when_its_tokens_key_is_withdrawn(
    trusting: Trusting, signers: dict[str, Signer]
) -> None:
    """And one whose key stays goes on."""
    issuer = trusting.issuer
    issuer.publish(signers["second"], signers["first"])
    kept = issuer.token()
    trusting.until(kept, 200)
    with (
        stream(trusting, issuer.token(signer=signers["first"])) as client,
        stream(trusting, kept) as other,
    ):
        issuer.publish(signers["second"])
        cut(client)
        assert other.sock.recv(1)


def test_a_restart_while_the_issuer_is_away(
    signers: dict[str, Signer], shared_upstream: Upstream, tmp_path: Path
) -> None:
    """With the last good keys on disk tokens go on; without them they are refused until it is back; keys never mind."""
    issuer = Issuer(signers["first"])
    write_settings(tmp_path, issuer)
    shared_upstream.renew()

    def away(handler: object) -> bool:
        return answer(handler, 503, b"")  # type: ignore[arg-type]

    issuer.behave = away
    try:
        with running(tmp_path, document(shared_upstream.url)) as gateway:
            wait_for(lambda: ask(gateway.address, request()).status == 200, 20, "a call by key")
            assert status(gateway, issuer.token()) == 401
            issuer.behave = lambda _: False
            wait_for(lambda: status(gateway, issuer.token()) == 200, 20, "the issuer's return to be seen")
            wait_for((tmp_path / "issuers" / "company").exists, 10, "the keys on disk")
            gateway.stop()
            issuer.close()
            gateway.start()
            wait_for(lambda: ask(gateway.address, request()).status == 200, 20, "a call by key")
            assert status(gateway, issuer.token()) == 200
            assert json.loads((tmp_path / "issuers" / "company").read_bytes().partition(b"\n")[2])
    finally:
        issuer.close()
