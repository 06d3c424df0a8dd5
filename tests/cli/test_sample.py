"""`maas sample` against a real gateway with the embedded engine: from the rule to the file, and to the file's end."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from gateway.cli import rules
from gateway.cli.demo.folder import opened, write_settings
from gateway.cli.demo.ports import choose_ports
from gateway.cli.demo.process import GatewayProcess
from gateway.controlplane.access.service import create_first_admin
from gateway.secret import Pseudonyms, load_secret
from gateway.settings import load_settings
from tests.cli.conftest import REPOSITORY, Maas, Running
from tests.patience import PATIENT_S
from tests.sampling.scene import parts, rows

Ask = Callable[..., Any]
BODY = json.dumps({"inputs": [{"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [0.5] * 64}]})


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway whose samples are written at once."""
    with opened(tmp_path_factory.mktemp("gateway")) as folder:
        ports = choose_ports(0, 0, 0)
        path = write_settings(folder, ports, REPOSITORY)
        path.write_text(path.read_text().replace("# file_s = 60.0", "file_s = 0.2"))
        settings = load_settings(path, {})
        admin = create_first_admin(settings.database_url, load_secret(settings))
        assert admin is not None
        with GatewayProcess(path, folder / "gateway.log") as process:
            process.wait_until_ready(ports)
            yield Running(path, ports, admin)


@pytest.fixture
def digits(run: Maas) -> None:
    """The alias `digits`."""
    assert run("pool", "set", "local", "--engine", "embedded").exit_code == 0
    words = ("model", "register", REPOSITORY / "digits", "--team", "vision", "--pool", "local")
    assert run(*words).exit_code == 0
    assert run("alias", "set", "digits", "digits@1", "--team", "vision", "--yes").exit_code == 0
    run("sample", "stop", "digits", "--yes")


def until(condition: Callable[[], object], what: str, limit_s: float = PATIENT_S) -> None:
    """Wait, generously."""
    limit = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < limit, f"waited for {what}"
        time.sleep(0.1)


def call(run: Maas, gateway: Running) -> Any:
    """One inference."""
    return run("infer", "digits", "--url", gateway.ports.inference_url, text=BODY)


@pytest.mark.slow
def test_from_a_rule_to_a_file_and_to_its_end(run: Maas, ask: Ask, gateway: Running, digits: None) -> None:
    """Set, call, find the sample in a file, delete it by its principal; each verb says what it did."""
    asked = run("sample", "set", "digits", "--rate", "100%", "--redact", "image")
    assert asked.exit_code == 1
    assert "then  100%; redact image" in asked.stderr
    done = run("sample", "set", "digits", "--rate", "100%", "--redact", "image", "--reason", "drift", "--yes")
    assert done.exit_code == 0, done.output
    assert "digits: 100%; redact image (revision 1)" in done.stdout
    folder = gateway.settings.parent / "samples"
    assert call(run, gateway).exit_code == 0
    until(lambda: call(run, gateway).exit_code == 0 and rows(folder), "a sample")
    row = next(each for each in rows(folder) if each["outcome"] == "ok")
    assert (row["alias"], row["model"], row["version"], row["inclusion"]) == ("digits", "digits", 1, 1.0)
    assert (row["inputs"][0]["masked"], row["inputs"][0]["values"]) == ("redacted", None)
    assert len(row["outputs"][0]["values"]) == 10
    secret = load_secret(load_settings(gateway.settings, {}))
    assert row["principal"] == Pseudonyms(secret).of("user:admin")
    listed = ask("sample", "files", "digits", "--config", gateway.settings)
    assert {each["alias"] for each in listed} == {"digits"}
    assert "digits" in run("sample", "files", "--url", folder).stdout
    shown = run("sample", "show", "digits").stdout
    assert "100.00%" in shown
    assert "redacted" in shown
    assert "digits" in run("sample", "show").stdout
    assert ask("sample", "chosen", "digits", row["request_id"])["arms"][0]["chosen"] is True

    run("sample", "stop", "digits", "--yes", "--reason", "enough")
    time_of_last = max(each["received_at"] for each in rows(folder))
    assert run("sample", "delete-subject", "-", text="user:admin\n").exit_code == 1
    words = ("sample", "delete-subject", "-", "--yes", "--wait", "60", "--reason", "asked for")
    deleted = run(*words, text="user:admin\n")
    assert deleted.exit_code == 0, deleted.output
    assert "is done" in deleted.stdout
    assert not [each for each in rows(folder) if each["received_at"] <= time_of_last]
    (entry,) = ask("sample", "deletions")
    assert (entry["state"], entry["subject"]) == ("done", row["principal"])
    assert "asked for" in run("sample", "deletions").stdout
    log = (gateway.settings.parent / "gateway.log").read_text()
    assert "user:admin" not in "".join(line for line in log.splitlines() if "sampl" in line)


@pytest.mark.slow
def test_a_slip_in_a_rule_is_refused_with_the_names_that_there_are(run: Maas, ask: Ask, digits: None) -> None:
    """The embedded engine's models say what they take."""
    refused = run("sample", "set", "digits", "--rate", "1%", "--drop", "imge", "--yes")
    assert refused.exit_code == 1
    assert "digits@1 has no tensor 'imge'; it has image, probabilities" in refused.stderr
    assert ask("sample", "show") == []


@pytest.mark.slow
def test_rules_stay_unless_others_are_given(run: Maas, ask: Ask, digits: None, tmp_path: Path) -> None:
    """Who only changes the rate does not let through what was masked."""
    first = ask("sample", "set", "digits", "--rate", "1%", "--drop", "image", "--hash", "@email", "--yes")
    assert ask("sample", "set", "digits", "--rate", "250bp", "--yes")["rules"] == first["rules"]
    file = tmp_path / "rules.json"
    file.write_text('[{"action": "hash", "path": "$.id"}]')
    changed = ask("sample", "set", "digits", "--rate", "250bp", "--rules", file, "--yes")
    assert changed["rules"] == [{"action": "hash", "path": "$.id"}]
    assert ask("sample", "set", "digits", "--rate", "250bp", "--no-rules", "--yes")["rules"] == []
    file.write_text("{")
    assert run("sample", "set", "digits", "--rate", "1%", "--rules", file, "--yes").exit_code == 1


@pytest.mark.slow
def test_the_doctor_looks_at_the_store(run: Maas, gateway: Running, digits: None) -> None:
    """Where an alias is sampled."""
    assert run("sample", "set", "digits", "--rate", "1%", "--yes").exit_code == 0
    until(lambda: '"samples"' in run("doctor", "--config", gateway.settings, "--json").stdout, "the finding")
    found = json.loads(run("doctor", "--config", gateway.settings, "--json").stdout)
    said = [each["found"] for each in found if each["check"] == "samples"]
    assert any("can be written" in each for each in said)
    assert any("1 aliases are sampled: digits" in each for each in said)
    assert parts(gateway.settings.parent) is not None


@pytest.mark.parametrize(
    "words",
    [
        ("set", "digits"),
        ("set", "digits", "--rate", "0%"),
        ("set", "digits", "--rate", "101%"),
        ("set", "digits", "--rate", "1%", "--keep", "@names"),
        ("set", "digits", "--rate", "1%", "--keep", "request:"),
        ("set", "digits", "--rate", "1%", "--keep", "a", "--no-rules"),
        ("show", "a/b"),
        ("delete-subject", "", "--yes"),
    ],
)
def test_wrong_usage_ends_with_status_2(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anybody is asked."""
    from click.testing import CliRunner

    from gateway.cli.main import maas

    assert CliRunner().invoke(maas, ["sample", *words], env={"MAAS_KEY": "k"}).exit_code == 2


def test_samples_that_cannot_be_listed_end_with_status_1(tmp_path: Path) -> None:
    """A driver that is not installed is named; an empty folder is no fault."""
    from click.testing import CliRunner

    from gateway.cli.main import maas

    refused = CliRunner().invoke(maas, ["sample", "files", "--url", "s3://bucket/samples"])
    assert refused.exit_code == 1
    assert "s3fs" in refused.stderr
    empty = CliRunner().invoke(maas, ["sample", "files", "--url", str(tmp_path)])
    assert (empty.exit_code, empty.stdout) == (0, f"There are no samples at {tmp_path}.\n")


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("text", {"tensor": "text"}),
        ("text?", {"tensor": "text", "optional": True}),
        ("*", {"tensor": "*"}),
        ("input:0", {"tensor": "input:0"}),
        ("request:text", {"part": "request", "tensor": "text"}),
        ("reply:$.a[*]", {"part": "reply", "path": "$.a[*]"}),
        ("@card", {"detector": "card"}),
    ],
)
def test_rules_are_read_as_they_are_written(text: str, fields: dict[str, Any]) -> None:
    """And written as they are read."""
    assert rules.rule("keep", text) == {"action": "keep"} | fields
    assert rules.written({"action": "keep"} | fields) == text
    assert rules.told([{"action": "keep"} | fields]) == f"keep {text}"


def test_a_rule_that_names_nothing_is_wrong_usage() -> None:
    """Told with what may be written."""
    with pytest.raises(click.BadParameter, match="names nothing"):
        rules.rule("keep", "request:")
