"""A real gateway for the verbs: `maas serve` as a process of its own, and verbs run against it."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result

from gateway.cli.demo.folder import opened, write_settings
from gateway.cli.demo.ports import Ports, choose_ports
from gateway.cli.demo.process import GatewayProcess
from gateway.cli.main import maas
from gateway.controlplane.access.service import create_first_admin
from gateway.secret import load_secret
from gateway.settings import load_settings

REPOSITORY = Path(__file__).parents[2] / "model_repository"

Maas = Callable[..., Result]


class Running(NamedTuple):
    """A gateway that runs, its settings file, and the key of `user:admin`."""

    settings: Path
    ports: Ports
    admin: str


@pytest.fixture(autouse=True)
def _no_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the shell has for another gateway stays out."""
    for name in [name for name in os.environ if name.startswith("MAAS_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A fresh gateway with the embedded engine and nothing in it but the seed rules and the first key."""
    with opened(tmp_path_factory.mktemp("gateway")) as folder:
        ports = choose_ports(0, 0, 0)
        settings_path = write_settings(folder, ports, REPOSITORY)
        settings = load_settings(settings_path, {})
        admin = create_first_admin(settings.database_url, load_secret(settings))
        assert admin is not None
        with GatewayProcess(settings_path, folder / "gateway.log") as process:
            process.wait_until_ready(ports)
            yield Running(settings_path, ports, admin)


@pytest.fixture
def run(gateway: Running) -> Maas:
    """Runs a verb against the gateway, by default as its administrator."""

    def verb(*arguments: object, key: str | None = None, text: str | None = None) -> Result:
        environment = {"MAAS_URL": gateway.ports.control_url, "MAAS_KEY": key or gateway.admin}
        return CliRunner().invoke(maas, [str(a) for a in arguments], env=environment, input=text)

    return verb


@pytest.fixture
def ask(run: Maas) -> Callable[..., Any]:
    """Runs a verb with --json, which must succeed, and decodes what it prints."""

    def verb(*arguments: object, key: str | None = None) -> Any:
        result = run(*arguments, "--json", key=key)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return verb
