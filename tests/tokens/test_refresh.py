"""An issuer's keys are fetched in the background; whatever the issuer does, the last good ones go on."""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.issuers import Issuer as Declared
from gateway.observe import metrics
from gateway.tokens import fetch, refresh
from gateway.tokens.fetch import MOST_DOCUMENT_BYTES, FetchFailed, fetch_keys
from gateway.tokens.last_good import LastGoodKeys
from gateway.tokens.refresh import Refresher
from gateway.tokens.tokens import Tokens
from tests.patience import PATIENT_S
from tests.tokens.issuer import AUDIENCE, DISCOVERY, JWKS, Issuer, Signer, answer

Behave = Callable[[BaseHTTPRequestHandler], bool]


def declared(issuer: Issuer, **fields: Any) -> Declared:
    """The issuer as settings declare it, fetched anew every second."""
    base = Declared(issuer.url, (AUDIENCE,), "app:{azp}", refresh_s=1.0)
    return msgspec.structs.replace(base, **fields)


def refresher(issuer: Declared, folder: Path) -> Refresher:
    """As `open_tokens` makes it."""
    found = Refresher(Tokens({"main": issuer}), LastGoodKeys(folder))
    found.start_from_disk()
    return found


def while_running(found: Refresher, story: Callable[[], Any]) -> None:
    """Run a story, in a thread, while the keys are refreshed."""

    async def both() -> None:
        task = asyncio.create_task(found.run())
        try:
            await asyncio.to_thread(story)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(both())


def until(condition: Callable[[], object], limit_s: float = PATIENT_S) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def accepted(found: Refresher, token: str) -> bool:
    """Whether the token is accepted now."""
    return found.tokens.principal(token.encode()) is not None


def failures() -> float:
    """How many fetches brought nothing."""
    return metrics.ISSUER_REFRESH_FAILURES.labels("main")._value.get()


def at(path: str, action: Behave) -> Behave:
    """What to do at one path."""
    return lambda handler: handler.path == path and action(handler)


def drip(handler: BaseHTTPRequestHandler) -> bool:
    """A reply without an end, a byte at a time."""
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b" ")
            time.sleep(0.02)
    except OSError:
        return True


def endless(handler: BaseHTTPRequestHandler) -> bool:
    """A reply without an end, as fast as it goes."""
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b" " * 65536)
    except OSError:
        return True


def nothing(handler: BaseHTTPRequestHandler) -> bool:
    """The connection ends."""
    handler.close_connection = True
    return True


MISBEHAVIOURS: dict[str, Behave] = {
    "a server error": at(JWKS, lambda h: answer(h, 500, b"")),
    "no discovery": at(DISCOVERY, lambda h: answer(h, 404, b"{}")),
    "no JSON": at(JWKS, lambda h: answer(h, 200, b"<html>")),
    "not UTF-8": at(JWKS, lambda h: answer(h, 200, b'{"keys": "\xff"}')),
    "deep": at(JWKS, lambda h: answer(h, 200, b"[" * 100_000)),
    "no key set": at(JWKS, lambda h: answer(h, 200, b"[]")),
    "no keys": at(JWKS, lambda h: answer(h, 200, b'{"keys": []}')),
    "no key of use": at(JWKS, lambda h: answer(h, 200, b'{"keys": [{"kty": "oct", "k": "AA"}, 7]}')),
    "empty": at(JWKS, lambda h: answer(h, 200, b"")),
    "huge": at(JWKS, lambda h: answer(h, 200, b" " * (MOST_DOCUMENT_BYTES + 1))),
    "endless": at(JWKS, endless),
    "compressed": at(JWKS, lambda h: answer(h, 200, b"\x1f\x8b", Content_Encoding="gzip")),
    "a redirect": at(JWKS, lambda h: answer(h, 302, b"", Location="/elsewhere")),
    "a redirect of discovery": at(DISCOVERY, lambda h: answer(h, 307, b"", Location=JWKS)),
    "hangs up": at(JWKS, nothing),
    "speaks for another": at(
        DISCOVERY, lambda h: answer(h, 200, b'{"issuer": "https://x", "jwks_uri": "https://x"}')
    ),
    "discovery is a list": at(DISCOVERY, lambda h: answer(h, 200, b"[]")),
}


@pytest.mark.parametrize("how", list(MISBEHAVIOURS))
def test_an_issuer_that_misbehaves_is_a_failed_fetch_and_nothing_else(issuer: Issuer, how: str) -> None:
    """Said in a sentence; no other address is asked than those two."""
    issuer.behave = MISBEHAVIOURS[how]
    found = refresher(declared(issuer), Path("/nowhere"))
    before = failures()
    assert asyncio.run(found._refresh("main", declared(issuer))) is False
    assert failures() == before + 1
    assert found.tokens.key_ids == frozenset()
    assert set(issuer.asked) <= {DISCOVERY, JWKS}


@pytest.mark.parametrize(
    "where",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://metadata.google.internal/",
        "https://[::ffff:169.254.169.254]/",
        "http://keys.example.com/",
        "file:///etc/passwd",
        "https://user:secret@keys.example.com/",
        "//keys.example.com/",
        7,
        None,
    ],
)
def test_discovery_sends_the_gateway_nowhere_it_must_not_go(issuer: Issuer, where: object) -> None:
    """No metadata service, no plain HTTP beyond loopback, no files, no credentials."""
    body = json.dumps({"issuer": issuer.url, "jwks_uri": where}).encode()
    issuer.behave = at(DISCOVERY, lambda handler: answer(handler, 200, body))
    with pytest.raises(FetchFailed, match="jwks_uri"):
        asyncio.run(fetch_keys(declared(issuer)))


def test_a_reply_that_drips_is_given_up(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """However steadily: both documents have one limit together."""
    monkeypatch.setattr(fetch, "WITHIN_S", 0.3)
    issuer.behave = at(JWKS, drip)
    with pytest.raises(FetchFailed, match="not answered"):
        asyncio.run(fetch_keys(declared(issuer)))


def test_a_declared_address_of_the_keys_is_asked_alone(issuer: Issuer) -> None:
    """Then there is no discovery."""
    found = asyncio.run(fetch_keys(declared(issuer, jwks_url=issuer.url + JWKS)))
    assert found == issuer.key_set
    assert issuer.asked == [JWKS]


@pytest.mark.slow
def test_new_keys_are_taken_while_old_ones_go_on(
    issuer: Issuer, signers: dict[str, Signer], tmp_path: Path
) -> None:
    """A rotation as issuers do it: both published, then the new one alone."""
    found = refresher(declared(issuer), tmp_path)

    def story() -> None:
        old = issuer.token()
        until(lambda: accepted(found, old))
        issuer.publish(signers["ES256"], signers["RS256"])
        until(lambda: accepted(found, issuer.token()))
        assert accepted(found, old)
        issuer.publish(signers["ES256"])
        until(lambda: not accepted(found, old))
        assert accepted(found, issuer.token())

    while_running(found, story)


@pytest.mark.slow
def test_a_token_with_an_unknown_key_has_the_keys_fetched_soon(
    issuer: Issuer, signers: dict[str, Signer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before their next turn, and however many such tokens come, not in a rush."""
    monkeypatch.setattr(refresh, "PAUSE_S", 0.5)
    found = refresher(declared(issuer, refresh_s=3600.0), tmp_path)

    def story() -> None:
        until(lambda: accepted(found, issuer.token()))
        issuer.publish(signers["ES256"], signers["RS256"])
        token = issuer.token()
        assert not accepted(found, token)
        until(lambda: accepted(found, token))
        began, asked = time.monotonic(), len(issuer.asked)
        stranger = issuer.token(signer=signers["other"])
        while (passed_s := time.monotonic() - began) < 1.5:
            assert not accepted(found, stranger)
            time.sleep(0.005)
        assert (len(issuer.asked) - asked) / 2 <= passed_s / 0.5 + 1

    while_running(found, story)


def test_a_restart_while_the_issuer_is_away_goes_on_with_the_last_good_keys(
    issuer: Issuer, tmp_path: Path
) -> None:
    """They are on disk, for their owner only; and what the issuer answers meanwhile does not replace them."""
    token = issuer.token()
    first = refresher(declared(issuer), tmp_path)
    while_running(first, lambda: until((tmp_path / "main").exists))
    assert (tmp_path / "main").stat().st_mode & 0o777 == 0o600
    for behave in (MISBEHAVIOURS["a server error"], MISBEHAVIOURS["no keys"], MISBEHAVIOURS["no JSON"]):
        issuer.behave = behave
        again = refresher(declared(issuer), tmp_path)
        assert accepted(again, token)
        before = failures()

        def story(again: Refresher = again, before: float = before) -> None:
            until(lambda: failures() > before)
            assert accepted(again, token)

        while_running(again, story)


@pytest.mark.slow
def test_without_last_good_keys_tokens_are_refused_until_the_issuer_answers(
    issuer: Issuer, tmp_path: Path
) -> None:
    """And then taken, without a restart."""
    issuer.behave = MISBEHAVIOURS["a server error"]
    found = refresher(declared(issuer), tmp_path)

    def story() -> None:
        until(lambda: len(issuer.asked) >= 2)
        assert not accepted(found, issuer.token())
        issuer.behave = lambda _: False
        until(lambda: accepted(found, issuer.token()))

    while_running(found, story)


@pytest.mark.slow
def test_last_good_keys_that_are_too_old_are_not_used(issuer: Issuer, tmp_path: Path) -> None:
    """Neither from disk nor while running: keys that were withdrawn meanwhile do not sign for ever."""
    token = issuer.token(exp=int(time.time()) + 10_000)
    store = LastGoodKeys(tmp_path)
    short = declared(issuer, keep_s=3.0)
    store.save("main", short, issuer.key_set, time.time() - 3.5)
    assert not accepted(refresher(short, tmp_path), token)
    store.save("main", short, issuer.key_set, time.time())
    found = refresher(short, tmp_path)
    assert accepted(found, token)
    issuer.behave = MISBEHAVIOURS["a server error"]
    while_running(found, lambda: until(lambda: not accepted(found, token)))
    assert found.tokens.key_ids == frozenset()


@pytest.mark.parametrize(
    "harm", ["cut", "flipped", "not JSON", "of another issuer", "of another address", "a folder"]
)
def test_a_file_that_is_not_the_issuers_good_keys_is_not_used(
    issuer: Issuer, tmp_path: Path, harm: str
) -> None:
    """Damage is seen by the checksum; keys of another issuer under the same name are not this one's."""
    mine, path = declared(issuer), tmp_path / "main"
    LastGoodKeys(tmp_path).save("main", mine, issuer.key_set, time.time())
    data = path.read_bytes()
    if harm == "cut":
        path.write_bytes(data[:-10])
    elif harm == "flipped":
        path.write_bytes(data.replace(b"RS256", b"RS384"))
    elif harm == "not JSON":
        path.write_bytes(hashlib.sha256(b"x").hexdigest().encode() + b"\nx")
    elif harm == "of another issuer":
        mine = msgspec.structs.replace(mine, issuer="https://id.example.com")
    elif harm == "of another address":
        mine = msgspec.structs.replace(mine, jwks_url="https://id.example.com/keys")
    else:
        path.unlink()
        path.mkdir()
    assert refresher(mine, tmp_path).tokens.key_ids == frozenset()


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_copy(issuer: Issuer, tmp_path: Path) -> None:
    """The fresh keys are used all the same."""
    (tmp_path / "file").write_text("in the way")
    found = refresher(declared(issuer), tmp_path / "file")
    assert asyncio.run(found._refresh("main", declared(issuer))) is True
    assert accepted(found, issuer.token())


def test_one_issuer_that_hangs_holds_up_no_other(
    issuer: Issuer, signers: dict[str, Signer], tmp_path: Path
) -> None:
    """Each is followed on its own."""
    other = Issuer(signers["ES256"])
    try:
        other.behave = at(DISCOVERY, drip)
        found = Refresher(
            Tokens({"other": declared(other), "main": declared(issuer)}), LastGoodKeys(tmp_path)
        )
        while_running(found, lambda: until(lambda: accepted(found, issuer.token())))
    finally:
        other.close()
