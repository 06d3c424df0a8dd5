"""The command as a whole: quick help, exit statuses, refusals in one line."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from gateway.cli.main import maas

_HEAVY = ("httpx", "litestar", "numpy", "onnxruntime", "rich", "sqlalchemy", "tritonclient")


def every_command(command: click.Command = maas, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every verb."""
    found = [path]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            found += every_command(child, (*path, name))
    return found


def test_help_loads_nothing_heavy() -> None:
    """`maas --help` comes at once, because it imports no client, database or engine."""
    code = "import sys, gateway.cli.main as m\ntry: m.maas(['--help'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split("\n")[-2].split())
    assert modules.isdisjoint(_HEAVY)
    assert "Commands:" in done.stdout


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_verb_explains_itself(words: tuple[str, ...]) -> None:
    """--help of every verb ends with status 0 and says more than its options."""
    result = CliRunner().invoke(maas, [*words, "--help"])
    assert result.exit_code == 0
    assert len(result.output) > 150


def test_verbs_to_come_are_not_pretended() -> None:
    """A verb that does nothing yet does not exist: a script that calls it gets the status of wrong usage."""
    for verb in ("quota", "release", "drift", "watch"):
        assert CliRunner().invoke(maas, [verb]).exit_code == 2


def test_without_a_key_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """No call is made without MAAS_KEY; the line says what to set."""
    monkeypatch.delenv("MAAS_KEY", raising=False)
    result = CliRunner().invoke(maas, ["alias", "list"])
    assert result.exit_code == 1
    assert result.stderr.startswith("maas: MAAS_KEY is not set")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (
            {"MAAS_URL": "http://127.0.0.1:9", "MAAS_KEY": "k"},
            "no control plane answers at http://127.0.0.1:9",
        ),
        ({"MAAS_URL": "localhost:8090", "MAAS_KEY": "k"}, "write the control plane's address"),
        ({"MAAS_URL": "http://127.0.0.1:9", "MAAS_KEY": "two words"}, "MAAS_KEY is no key"),
        ({"MAAS_URL": "http://127.0.0.1:9", "MAAS_KEY": "k\x1b[2J"}, "MAAS_KEY is no key"),
    ],
)
def test_a_wrong_address_or_key_is_told_in_one_line(environment: dict[str, str], words: str) -> None:
    """Nothing listening, no URL, a key that is none: status 1 and one line that says what to do."""
    result = CliRunner().invoke(maas, ["alias", "list"], env=environment)
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["alias", "set", "digits", "digits@1=90%", "digits@2=20%"],
        ["alias", "set", "../x", "digits@1"],
        ["alias", "set", "digits"],
        ["alias", "show", "%2e%2e"],
        ["key", "create", "storefront"],
        ["key", "revoke", "../../pools/demo"],
        ["policy", "add", "p, app:x, vision"],
        ["policy", "check", "app:x", "eat", "digits"],
        ["pool", "set", "gpu"],
        ["pool", "set", "local", "http://h:1", "--engine", "embedded"],
        ["demo", "--engine", "cuda"],
        ["nonsense"],
    ],
)
def test_wrong_usage_ends_with_status_2(arguments: list[str]) -> None:
    """What could never work is refused before anything is sent."""
    result = CliRunner().invoke(maas, arguments, env={"MAAS_URL": "http://127.0.0.1:9", "MAAS_KEY": "k"})
    assert result.exit_code == 2
