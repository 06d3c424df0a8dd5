"""The verbs against a real gateway."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.cli.client import Control
from gateway.cli.infer import inference_address
from tests.cli.conftest import REPOSITORY, Maas, Running
from tests.patience import PATIENT_S

pytestmark = pytest.mark.slow

Ask = Callable[..., Any]


@pytest.fixture(autouse=True)
def digits(run: Maas, ask: Ask) -> None:
    """Pool, model and alias `digits`, as a fresh installation gets them; the alias entirely on version 1."""
    assert run("pool", "set", "local", "--engine", "embedded").exit_code == 0
    assert (
        run("model", "register", REPOSITORY / "digits", "--team", "vision", "--pool", "local").exit_code == 0
    )
    assert run("alias", "set", "digits", "digits@1", "--team", "vision", "--yes").exit_code == 0


def test_an_alias_is_set_shown_and_rolled_back(run: Maas, ask: Ask) -> None:
    """Weights arrive exactly, the history keeps who and why, and rolling back restores what was there."""
    result = run("alias", "set", "digits", "digits@1", "digits@2=0.25%", "--reason", "first canary", "--yes")
    assert result.exit_code == 0, result.output
    assert "new -> 0.25% (candidate)" in result.stderr
    shown = ask("alias", "show", "digits")
    assert [(t["version"], t["weight"], t["arm"]) for t in shown["targets"]] == [
        (1, 9975, "stable"),
        (2, 25, "candidate"),
    ]
    newest = ask("alias", "history", "digits")[0]
    assert (newest["by"], newest["reason"], newest["kind"]) == ("user:admin", "first canary", "set")
    assert run("alias", "rollback", "digits", "--yes").exit_code == 0
    assert [t["weight"] for t in ask("alias", "show", "digits")["targets"]] == [10_000]
    to_canary = run("alias", "rollback", "digits", "--to", newest["revision"], "--yes")
    assert "digits@2=0.25%" in to_canary.stdout
    for words in ("list", "show digits", "history digits"):
        assert "digits@2" in run("alias", *words.split()).stdout


def test_a_change_asks_first(run: Maas, ask: Ask) -> None:
    """Without --yes and without a person to ask, the effect is shown and nothing is done."""
    before = ask("alias", "show", "digits")
    result = run("alias", "set", "digits", "digits@1=50%", "digits@2=50%")
    assert result.exit_code == 1
    assert "add --yes" in result.stderr
    assert ask("alias", "show", "digits") == before


def test_a_refused_change_says_why_in_one_line(run: Maas, ask: Ask) -> None:
    """A version that is not registered is refused by the gateway: status 1, its words, nothing changed."""
    before = ask("alias", "show", "digits")
    result = run("alias", "set", "digits", "digits@9", "--yes")
    assert result.exit_code == 1
    assert "model digits has no version 9; registered: 1, 2, 3" in result.stderr.splitlines()[-1]
    assert ask("alias", "show", "digits") == before
    missing = run("alias", "set", "new-one", "digits@1", "--yes")
    assert "name its team with --team" in missing.stderr


def test_an_alias_can_be_deleted_and_brought_back(run: Maas, ask: Ask) -> None:
    """Deletion is one more change of the history, so a rollback undoes it."""
    assert run("alias", "set", "short-lived", "digits@1", "--team", "vision", "--yes").exit_code == 0
    assert run("alias", "delete", "short-lived", "--yes").exit_code == 0
    assert run("alias", "show", "short-lived").exit_code == 1
    assert run("alias", "rollback", "short-lived", "--yes").exit_code == 0
    assert ask("alias", "show", "short-lived")["team"] == "vision"


def test_a_key_works_until_it_is_revoked(run: Maas, ask: Ask) -> None:
    """Standard output holds the key and nothing else; the list never shows it; revoked, it is refused."""
    made = run("key", "create", "user:lead", "--expires", "90d", "--note", "ops")
    key = made.stdout.strip()
    assert key.startswith("maas_")
    assert "\n" not in key
    listed = [k for k in ask("key", "list") if k["principal"] == "user:lead"]
    assert listed[0]["note"] == "ops"
    assert key not in run("key", "list").stdout
    assert run("alias", "set", "digits", "digits@1", "digits@2=5%", "--yes", key=key).exit_code == 0
    assert run("key", "revoke", listed[0]["id"], "--yes").exit_code == 0
    refused = run("alias", "list", key=key)
    assert refused.exit_code == 1
    assert "not accepted" in refused.stderr
    assert "revoked" in run("key", "list").stdout


def test_rights_are_asked_explained_and_changed(run: Maas, ask: Ask) -> None:
    """`check` answers by status, `explain` in words; rows added and removed change the answer."""
    assert run("policy", "check", "app:storefront", "infer", "digits").exit_code == 0
    assert run("policy", "check", "app:newcomer", "infer", "digits").exit_code == 1
    assert "role:consumer" in run("policy", "explain", "app:storefront", "infer", "digits").stdout
    row = "g, app:newcomer, role:consumer, vision"
    assert run("policy", "add", row, "--yes", "--reason", "hello").exit_code == 0
    assert run("policy", "check", "app:newcomer", "infer", "digits").exit_code == 0
    assert row in run("policy", "show").stdout
    assert run("policy", "remove", row, "--yes").exit_code == 0
    assert ask("policy", "explain", "app:newcomer", "infer", "digits")["allowed"] is False
    assert run("policy", "check", "user:admin", "admin", "@keys").exit_code == 0
    assert run("policy", "check", "user:lead", "flip", "yet-to-come", "--team", "vision").exit_code == 0


def test_the_policy_is_tested_and_applied_from_files(run: Maas, ask: Ask, tmp_path: Path) -> None:
    """The kept decisions hold; a false one fails with its reason; a file replaces all rows or none."""
    cases = Path(__file__).parents[2] / "policies" / "cases.csv"
    assert run("policy", "test", cases).exit_code == 0
    wrong = tmp_path / "cases.csv"
    wrong.write_text(cases.read_text().splitlines()[0] + "\napp:stranger,vision,digits,infer,allow,a slip\n")
    failed = run("policy", "test", wrong)
    assert failed.exit_code == 1
    assert "a slip" in failed.stderr
    rules = tmp_path / "rules.csv"
    rules.write_text(run("policy", "show").stdout + "g, user:new, role:reader, vision\n")
    applied = run("policy", "apply", rules, "--yes")
    assert applied.exit_code == 0
    assert "+ g, user:new, role:reader, vision" in applied.stderr
    rules.write_text("p, app:x, vision, digits, infer, Deny\n")
    before = ask("policy", "show")
    assert run("policy", "apply", rules, "--yes").exit_code == 1
    assert ask("policy", "show") == before


def test_a_version_never_changes(run: Maas, ask: Ask, tmp_path: Path) -> None:
    """The same files register again; other files under a registered number are refused."""
    digests = {v["version"]: v["digest"] for v in ask("model", "show", "digits")["versions"]}
    assert sorted(digests) == [1, 2, 3]
    assert run("model", "register", REPOSITORY / "digits").exit_code == 0
    model = tmp_path / "digits"
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text('name: "digits"')
    (model / "1" / "model.onnx").write_bytes(b"other")
    refused = run("model", "register", model)
    assert refused.exit_code == 1
    assert "a version never changes" in refused.stderr
    assert "digits" in run("model", "list").stdout
    assert "embedded" in run("pool", "list").stdout


def test_infer_goes_through_the_published_client(run: Maas, gateway: Running, tmp_path: Path) -> None:
    """A JSON body from a file or standard input; the reply as JSON, and which version answered."""
    key = run("key", "create", "app:storefront").stdout.strip()
    body = {"inputs": [{"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [[0.0] * 64]}]}
    url = gateway.ports.inference_url
    result = live(lambda: run("infer", "digits", key=key, text=json.dumps(body)))
    reply = json.loads(result.stdout)
    assert reply["outputs"][0]["shape"] == [1, 10]
    assert sum(reply["outputs"][0]["data"]) == pytest.approx(1.0, abs=1e-5)
    assert result.stderr == "served by digits/1\n"
    file = tmp_path / "body.json"
    file.write_text(
        json.dumps(body | {"outputs": [{"name": "probabilities", "parameters": {"classification": 2}}]})
    )
    classified = json.loads(run("infer", "digits", "--url", url, "--file", file, "--json", key=key).stdout)
    assert classified["served_by"] == "digits/1"
    assert len(classified["reply"]["outputs"][0]["data"]) == 2


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "[]",
        '{"inputs": []}',
        '{"inputs": [{"name": "image"}]}',
        '{"inputs": [{"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [1]}]}',
        '{"inputs": [{"name": "image", "shape": [1], "datatype": "FP31", "data": [1]}]}',
        '{"inputs": [{"name": "image", "shape": [1], "datatype": "INT8", "data": ["x"]}]}',
        '{"inputs": [{"name": "image", "shape": ["1"], "datatype": "INT8", "data": [1]}]}',
    ],
)
def test_a_body_that_is_none_is_refused_in_one_line(run: Maas, body: str) -> None:
    """Broken JSON, missing fields, wrong counts, unknown types: status 1, and one line that says which."""
    result = run("infer", "digits", text=body)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output


def test_infer_shows_the_gateways_own_words(run: Maas, gateway: Running) -> None:
    """A refusal of the gateway reaches the person as the gateway worded it."""
    body = '{"inputs": [{"name": "image", "shape": [1, 1], "datatype": "FP32", "data": [1]}]}'
    result = run("infer", "no-such-alias", "--url", gateway.ports.inference_url, text=body)
    assert result.exit_code == 1
    assert "There is no alias 'no-such-alias'" in result.stderr
    assert run("infer", "digits", "--url", "http://127.0.0.1:9", text=body).exit_code == 1


@pytest.mark.parametrize(
    ("control", "told", "address"),
    [
        ("http://127.0.0.1:8090", "http://127.0.0.1:7", "http://127.0.0.1:7"),
        ("http://localhost:8090", "http://10.0.0.2:7", "http://10.0.0.2:7"),
        ("https://maas.example", "http://10.0.0.2:7", "http://10.0.0.2:7"),
        ("https://maas.example", "http://127.0.0.1:7", "http://maas.example:8080"),
        ("http://maas.example:8090", None, "http://maas.example:8080"),
        ("http://[::1]:8090", None, "http://[::1]:8080"),
    ],
)
def test_a_key_goes_to_no_loopback_that_another_host_means(
    monkeypatch: pytest.MonkeyPatch, control: str, told: str | None, address: str
) -> None:
    """What the control plane names is taken, except an address that only has a meaning on its own host."""
    monkeypatch.setattr(Control, "get", lambda *_: {"inference_url": told})
    assert inference_address(control, "key", 1.0) == address


def test_doctor_finds_a_running_gateway_well(run: Maas, gateway: Running) -> None:
    """Nothing is broken in a fresh installation that runs; ports are known as ours and workers as up to date."""
    result = live(lambda: run("doctor", "--config", gateway.settings, "--json"))
    findings = json.loads(result.stdout)
    by_check = {finding["check"]: finding for finding in findings}
    assert not [finding for finding in findings if finding["severity"] == "broken"]
    assert "in use by a maas gateway" in by_check["inference.port"]["found"]
    assert "in use by a maas gateway" in by_check["control.port"]["found"]
    for check in (
        "settings",
        "secret",
        "database",
        "control plane",
        "snapshot",
        "model repository",
        "pool local",
    ):
        assert by_check[check]["severity"] == "ok", by_check[check]
    assert all(finding["todo"] for finding in findings if finding["severity"] != "ok")


def test_use_and_workers_are_reported(run: Maas, ask: Ask, gateway: Running) -> None:
    """Within seconds a key's last use stands in the list, and the worker that served it in the doctor's findings."""
    key = run("key", "create", "app:storefront", "--note", "used").stdout.strip()
    body = {"inputs": [{"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [0.0] * 64}]}
    url = gateway.ports.inference_url
    live(lambda: run("infer", "digits", "--url", url, key=key, text=json.dumps(body)))
    limit = time.monotonic() + PATIENT_S
    while not any(k["last_used_at"] for k in ask("key", "list") if k["note"] == "used"):
        assert time.monotonic() < limit, "the use was not reported"
        time.sleep(0.1)
    findings = json.loads(run("doctor", "--config", gateway.settings, "--json").stdout)
    workers = [finding for finding in findings if finding["check"] == "workers"]
    assert [finding["severity"] for finding in workers] == ["ok"]


def live(attempt: Callable[[], Any]) -> Any:
    """The first result with status 0: a change is live within a second, a busy machine given some more."""
    limit = time.monotonic() + PATIENT_S
    while (result := attempt()).exit_code and time.monotonic() < limit:
        time.sleep(0.05)
    assert result.exit_code == 0, result.output
    return result


def test_the_openapi_description_is_where_the_demo_says(gateway: Running) -> None:
    """The address that the demo and the README name answers."""
    assert "openapi" in httpx.get(f"{gateway.ports.control_url}/schema", timeout=60).json()


def test_a_quota_is_set_shown_and_deleted(run: Maas, ask: Ask) -> None:
    """Its limits are written as people write them; what cannot be meant is refused in one line."""
    done = run("quota", "set", "free", "--alias", "digits", "--application", "*", "5/minute", "100/day")
    assert done.exit_code == 0, done.output
    assert "free: minute:5/minute day:100/day for each application, alias digits" in done.stdout
    assert [each["quota"] for each in ask("quota", "show", "free")["limits"]] == [5, 100]
    assert "each application, alias digits" in run("quota", "show").stdout
    assert "86400 s" in run("quota", "show", "free").stdout
    again = run("quota", "set", "free", "--alias", "digits", "--application", "*", "5/minute", "100/day")
    assert again.exit_code == 0, "the same again is no question"
    asked = run("quota", "set", "free", "7/minute")
    assert asked.exit_code == 1
    assert (
        "free is now   minute:5/minute day:100/day for each application, alias digits, enforced"
        in asked.stderr
    )
    assert "will be  minute:7/minute for everybody together, enforced" in asked.stderr
    assert "add --yes" in asked.stderr
    everybody = run("quota", "set", "all", "7/minute")
    assert everybody.exit_code == 1
    assert "all binds every request of every caller, all counted together" in everybody.stderr
    assert run("quota", "show", "all").exit_code == 1
    torn = run("quota", "set", "torn", "--alias", "digits", "--hard", "--shadow", "7/minute")
    assert "a shadow policy refuses nothing, so it cannot be hard" in torn.stderr
    refused = run("quota", "set", "free", "5/minute", "5/day", "--yes")
    assert refused.exit_code == 1
    assert "contradict one another" in refused.stderr.splitlines()[-1]
    assert len(ask("quota", "show", "free")["limits"]) == 2
    assert run("quota", "set", "free", "5/fortnight").exit_code == 2
    assert run("quota", "delete", "free").exit_code == 1
    assert run("quota", "delete", "free", "--yes", "--reason", "over").exit_code == 0
    assert run("quota", "show", "free").exit_code == 1


def test_usage_is_shown(run: Maas, ask: Ask, gateway: Running) -> None:
    """A call shows up under its caller within seconds."""
    key = ask("key", "create", "app:storefront")["key"]
    body = json.dumps(
        {"inputs": [{"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [0.0] * 64}]}
    )
    until = time.monotonic() + PATIENT_S
    while run("infer", "digits", key=key, text=body).exit_code:
        assert time.monotonic() < until
    rows: list[dict[str, Any]] = []
    while not rows:
        assert time.monotonic() < until
        rows = ask("usage", "--alias", "digits", "--by", "application", "--application", "app:storefront")[
            "rows"
        ]
    assert rows[0]["requests"] >= 1
    assert "app:storefront" in run("usage", "--alias", "digits").stdout
    assert run("usage", "--by", "colour").exit_code == 1
    assert run("usage", "--alias", "digits", "--to", "2020-01-01").stdout.startswith("No call from")
    nobody = run("usage", "--alias", "no-such", "--json")
    assert (nobody.exit_code, nobody.stdout) == (1, "")
    assert "there is no alias no-such that you may see" in nobody.stderr


def test_a_pool_that_there_is_is_not_changed_unasked(run: Maas, ask: Ask) -> None:
    """What stands and what comes are shown; without --yes nothing is done; the same again is no question."""
    first, second = "http://127.0.0.1:9", "http://127.0.0.1:10"
    assert run("pool", "set", "other", first).exit_code == 0
    assert run("pool", "set", "other", first).exit_code == 0
    asked = run("pool", "set", "other", second)
    assert asked.exit_code == 1
    assert f"pool other is now   triton {first}" in asked.stderr
    assert f"will be  triton {second}" in asked.stderr
    assert ask("pool", "show", "other")["endpoints"] == [first]
    assert run("pool", "set", "other", second, "--yes").exit_code == 0
    assert ask("pool", "show", "other")["endpoints"] == [second]
