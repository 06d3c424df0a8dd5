"""`maas deprecate` and `maas callers` against a real gateway, whose workers report who calls."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cli.conftest import REPOSITORY, Maas, Running
from tests.patience import PATIENT_S

pytestmark = pytest.mark.slow

Ask = Callable[..., Any]
BODY = json.dumps({"inputs": [{"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [0.0] * 64}]})
SUNSET = f"{datetime.now(UTC) + timedelta(days=40):%Y-%m-%d}"


@pytest.fixture(autouse=True)
def old(run: Maas) -> Iterator[None]:
    """Aliases `digits` and `old`; what a test announces is taken back after it."""
    assert run("pool", "set", "local", "--engine", "embedded").exit_code == 0
    assert (
        run("model", "register", REPOSITORY / "digits", "--team", "vision", "--pool", "local").exit_code == 0
    )
    for name in ("digits", "old"):
        assert run("alias", "set", name, "digits@1", "--team", "vision", "--yes").exit_code == 0
    yield
    run("deprecate", "old", "--undo", "--yes")


def call(run: Maas, gateway: Running, alias: str, key: str, *more: str) -> Any:
    """One inference; the first one may come before the alias is live."""
    limit = time.monotonic() + PATIENT_S
    words = ("infer", alias, "--url", gateway.ports.inference_url, *more)
    while (result := run(*words, key=key, text=BODY)).exit_code and time.monotonic() < limit:
        time.sleep(0.05)
    assert result.exit_code == 0, result.output
    return result


def until(condition: Callable[[], object], what: str) -> None:
    """Wait, generously."""
    limit = time.monotonic() + PATIENT_S
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.1)


def test_an_end_is_announced_shown_and_taken_back(run: Maas, ask: Ask) -> None:
    """What callers will see comes first; without --yes nothing is done; options left out keep what stands."""
    words = (
        "deprecate",
        "old",
        "--sunset",
        SUNSET,
        "--successor",
        "digits",
        "--info",
        "https://wiki.example/old",
    )
    asked = run(*words)
    assert asked.exit_code == 1
    assert "add --yes" in asked.stderr
    assert '</v2/models/digits>; rel="successor-version"' in asked.stderr
    assert "Sunset: " in asked.stderr
    assert run("deprecate", "old").exit_code == 1
    done = run(*words, "--reason", "version 2 is better", "--yes")
    assert done.exit_code == 0, done.output
    assert "deprecated" in done.stdout
    changed = ask("deprecate", "old", "--after-sunset", "gone", "--brownout", f"{SUNSET}T09:00Z/15m", "--yes")
    assert changed["sunset_at"] == f"{SUNSET}T23:59:59Z"
    assert (changed["successor"], changed["after_sunset"]) == ("digits", "gone")
    assert changed["brownouts"] == [{"start": f"{SUNSET}T09:00:00Z", "end": f"{SUNSET}T09:15:00Z"}]
    shown = run("deprecate", "old").stdout
    assert "Switched off (410) from" in shown
    assert "410, for good" in shown
    assert ask("deprecate", "old", "--no-brownouts", "--yes")["brownouts"] == []
    assert SUNSET in run("alias", "list").stdout
    assert f"retires: {SUNSET} 23:59:59Z, then digits" in run("alias", "show", "old").stdout
    assert "old" in run("callers").stdout
    assert run("deprecate", "old", "--undo", "--yes").exit_code == 0
    assert "deprecated since" not in run("alias", "show", "old").stdout


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("old", "--sunset", "2020-01-01"), 1, "has passed"),
        (("old", "--successor", "old"), 1, "own successor"),
        (("old", "--successor", "nowhere"), 1, "no alias nowhere"),
        (("digits@1", "--successor", "digits"), 1, "leads back to version digits@1"),
        (("old", "--brownout", "2020-01-10T09:00Z/15m"), 1, "is over already"),
        (("old", "--after-sunset", "gone"), 1, "does not have"),
        (("no-such", "--sunset", SUNSET), 1, "There is no alias 'no-such'"),
        (("digits@9", "--sunset", SUNSET), 1, "no version 9"),
        (("old", "--sunset", "soon"), 2, "is no date"),
        (("old", "--sunset", "1y"), 2, "minutes, hours, days or weeks"),
        (("old", "--brownout", "now"), 2, "START/END"),
        (("old", "--undo", "--sunset", SUNSET), 2, "without the other options"),
        (("old", "--no-brownouts", "--brownout", f"{SUNSET}T09:00Z/15m"), 2, "contradict"),
    ],
)
def test_what_cannot_be_meant_is_refused(run: Maas, words: tuple[str, ...], status: int, says: str) -> None:
    """Wrong usage is status 2, what the gateway refuses status 1: once, and before anybody sees what it would do."""
    result = run("deprecate", *words, "--yes")
    assert result.exit_code == status, result.output
    assert result.stderr.count(says) == 1
    assert "will be told" not in result.stderr
    assert "the sunset lies before" not in result.stderr, "that it has passed is said already"


def test_a_successor_that_leads_back_in_part_is_warned_of(run: Maas) -> None:
    """The version may be on its way out of the alias just now."""
    assert run("alias", "set", "old", "digits@1=60%", "digits@2=40%", "--yes").exit_code == 0
    done = run("deprecate", "digits@1", "--successor", "old", "--yes")
    assert done.exit_code == 0, done.output
    assert "warning: 60% of alias old is still answered by version digits@1" in done.stderr
    assert run("deprecate", "digits@1", "--undo", "--yes").exit_code == 0


def test_who_still_calls_is_listed_within_seconds(run: Maas, ask: Ask, gateway: Running) -> None:
    """Reported by the worker itself: who, when, how often; a note stands beside it; the caller is warned and shown the way."""
    key = run("key", "create", "app:storefront").stdout.strip()
    assert run("deprecate", "old", "--sunset", SUNSET, "--successor", "digits", "--yes").exit_code == 0
    until(lambda: "deprecated" in call(run, gateway, "old", key).stderr, "the caller is warned")
    warned = call(run, gateway, "old", key).stderr
    assert "warning: what you call is deprecated" in warned
    assert 'Link: </v2/models/digits>; rel="successor-version"' in warned
    assert call(run, gateway, "digits", key).stderr == "served by digits/1\n"
    until(lambda: ask("callers", "old")["callers"], "the worker reports who called")
    (found,) = ask("callers", "old")["callers"]
    assert (found["principal"], found["trend"], found["may_call_successor"]) == (
        "app:storefront",
        "new",
        True,
    )
    assert found["calls"] >= 1
    noted = run("callers", "old", "--note", "app:storefront", "ask Ana; moves in March")
    assert "ask Ana; moves in March" in noted.stdout
    assert "1 called within the last eight days" in noted.stdout
    assert run("callers", "old", "--note", "app:storefront", "moved").exit_code == 0
    assert ask("callers", "old", "--forget", "app:storefront")["callers"][0]["note"] is None
    (version,) = [c for c in ask("callers", "digits@1")["callers"] if c["principal"] == "app:storefront"]
    assert {each["alias"] for each in version["through"]} >= {"old"}
    assert "through" in run("callers", "digits@1").stdout
    refused = run("alias", "delete", "old", "--yes")
    assert refused.exit_code == 1
    assert "app:storefront" in refused.stderr
    assert run("alias", "delete", "old", "--force", "--yes").exit_code == 2
    forced = run("alias", "delete", "old", "--force", "--reason", "it leaks", "--yes")
    assert forced.exit_code == 0, forced.output


def test_a_brownout_is_told_in_the_gateways_words(run: Maas, gateway: Running) -> None:
    """Switched off now: `maas infer` is refused and told what to call instead."""
    key = run("key", "create", "app:storefront").stdout.strip()
    call(run, gateway, "old", key)
    now = datetime.now(UTC)
    spell = f"{now:%Y-%m-%dT%H:%M:%SZ}/{now + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    begins = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    announced = run(
        "deprecate", "old", "--from", begins, "--brownout", spell, "--successor", "digits", "--yes"
    )
    assert announced.exit_code == 0, announced.output
    words = ("infer", "old", "--url", gateway.ports.inference_url)
    until(lambda: run(*words, key=key, text=BODY).exit_code == 1, "the brownout is live")
    refused = run(*words, key=key, text=BODY)
    assert "call digits instead" in refused.stderr
    assert "warning: what you call is deprecated" in refused.stderr


def test_the_callers_of_nothing_cannot_be_noted(run: Maas) -> None:
    """A note needs its alias or version."""
    assert run("callers", "--note", "app:a", "x").exit_code == 2
    assert run("callers", "no-such").exit_code == 1


def test_a_version_is_removed(run: Maas, ask: Ask) -> None:
    """One that an alias targets stays; one that nobody names goes, and can be registered again."""
    refused = run("model", "remove", "digits@1", "--yes").stderr
    assert "is a target of" in refused
    assert refused.count(" targets ") == 0, "each alias is named once"
    assert run("model", "remove", "digits@3", "--reason", "worse", "--yes").exit_code == 0
    assert [v["version"] for v in ask("model", "show", "digits")["versions"]] == [1, 2]
    assert run("model", "register", REPOSITORY / "digits").exit_code == 0
