"""A lead retires an alias: its callers hear of it, those who still call are seen, and it goes when they have moved on."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.harness import Gateway, Key, Operator, done, install, wait_until
from tests.flows.conftest import DIGITS, EMBEDDED, IMAGE, TEAM, Caller

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def operator(embedded_gateway: Gateway, lead: Key) -> Iterator[Operator]:
    """The control plane as the lead."""
    with embedded_gateway.operator(lead.text) as operator:
        yield operator


@pytest.fixture
def client(embedded_gateway: Gateway, app: Key) -> Iterator[httpx.Client]:
    """The inference port as the application."""
    with embedded_gateway.caller(app) as client:
        yield client


def infer(client: httpx.Client, alias: str) -> httpx.Response:
    """One inference."""
    return client.post(f"/v2/models/{alias}/infer", content=IMAGE)


def until_gone(client: httpx.Client, alias: str) -> httpx.Response:
    """The first 410."""
    replies: list[httpx.Response] = []

    def gone() -> bool:
        replies.append(infer(client, alias))
        return replies[-1].status_code == 410

    wait_until(gone, f"{alias} is switched off", 30)
    return replies[-1]


def callers(operator: Operator, subject: str) -> dict[str, Any]:
    """Who still calls, by principal."""
    found = done(operator.get(f"{subject}/deprecation/callers")).json()["callers"]
    return {each["principal"]: each for each in found}


def soon(seconds: float) -> str:
    """A moment from now."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_an_alias_retires(operator: Operator, client: httpx.Client) -> None:
    """Announced, told with every reply, dark for a spell and back, gone at its sunset; whoever called is named when it is
    to be deleted.
    """
    for name in ("retiring", "staying"):
        operator.alias(name, "digits@1", team=TEAM)
        wait_until(lambda name=name: infer(client, name).status_code == 200, f"{name} is served")  # type: ignore[misc]
    where = "/aliases/retiring"
    body = {"sunset_at": soon(86_400), "successor": "staying", "after_sunset": "gone"}
    operator.set(f"{where}/deprecation", body)
    wait_until(lambda: "Deprecation" in infer(client, "retiring").headers, "callers are told")
    told = infer(client, "retiring")
    assert told.status_code == 200
    assert told.headers["Link"] == '</v2/models/staying>; rel="successor-version"'
    assert "Deprecation" not in infer(client, "staying").headers

    # Dated by the wall clock of a running gateway: the spell begins and ends by itself.
    spell = {"start": soon(3), "end": soon(12)}
    operator.set(f"{where}/deprecation", body | {"brownouts": [spell]})
    dark = until_gone(client, "retiring")
    assert 1 <= int(dark.headers["Retry-After"]) <= 9
    assert dark.json()["type"] == "urn:maas:problem:brownout"
    assert infer(client, "staying").status_code == 200
    wait_until(lambda: infer(client, "retiring").status_code == 200, "the brownout ends", 30)
    assert datetime.now(UTC) >= datetime.fromisoformat(spell["end"])

    operator.set(f"{where}/deprecation", body | {"sunset_at": soon(4)})
    over = until_gone(client, "retiring")
    assert (over.json()["type"], over.json()["successor"]) == ("urn:maas:problem:retired", "staying")
    assert "Retry-After" not in over.headers

    wait_until(
        lambda: callers(operator, where).get("app:shop", {}).get("gone", 0) >= 2, "they are counted", 30
    )
    etag = operator.get(where).headers["ETag"]
    refused = operator.delete(where, headers={"If-Match": etag})
    assert refused.status_code == 409
    assert refused.json()["callers"] == ["app:shop"]
    forced = operator.delete(
        where, headers={"If-Match": etag}, params={"force": True, "reason": "they had 410 since the sunset"}
    )
    assert forced.status_code == 204
    wait_until(lambda: infer(client, "retiring").status_code == 404, "it is gone")


def test_who_calls_is_known_whatever_restarts(tmp_path: Path) -> None:
    """Reported within seconds; calls made while the control plane is away are counted, once, when it is back."""
    installation = install(tmp_path)
    with Gateway(installation, role="control") as control:
        with control.operator() as operator:
            operator.pool("here")
            operator.model(DIGITS, team=TEAM, pool="here")
            operator.alias("digits", "digits@1", team=TEAM)
            operator.role("app:shop", "consumer", TEAM)
            app = operator.key("app:shop")
            done(operator.put("/aliases/digits/deprecation", json={"sunset_at": soon(86_400)}))
        with (
            Gateway(installation, EMBEDDED, role="data", control_url=control.control_url) as data,
            Caller(data.inference, app) as caller,
        ):
            wait_until(lambda: caller.infer("digits").status == 200, "digits is served", 30)
            made = 1 + sum(caller.infer("digits").status == 200 for _ in range(10))
            with control.operator() as operator:
                wait_until(lambda: counted(operator) == made, "the calls are counted", 30)
            control.kill()
            made += sum(caller.infer("digits").status == 200 for _ in range(10))
            control.start()
            with control.operator() as operator:
                wait_until(lambda: counted(operator) == made, "the rest is counted too", 60)
                made += caller.infer("digits").status == 200
                wait_until(lambda: counted(operator) == made, "and it goes on", 30)
                (found,) = callers(operator, "/models/digits/versions/1").values()
                assert [each["alias"] for each in found["through"]] == ["digits"]


def counted(operator: Operator) -> int:
    """How many calls of the application are known."""
    return int(callers(operator, "/aliases/digits").get("app:shop", {}).get("calls", 0))
