"""The systemd units: systemd itself reads them, and they hold a gateway tightly."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.settings import load_settings
from tests.deploy.manifests import DEPLOY
from tests.deploy.test_pods import LEAVE_S, drain_s

UNITS = ["maas.service", "maas-control.service", "maas-data@.service"]
FOLDER = DEPLOY / "systemd"
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here (Debian: systemd)"
)


class Unit(configparser.RawConfigParser):
    """A unit's file: keys keep their case and may stand more than once."""

    def __init__(self, name: str) -> None:
        super().__init__(strict=False, delimiters=("=",), comment_prefixes=("#",), interpolation=None)
        self.text = (FOLDER / name).read_text()
        self.read_string(self.text)

    def optionxform(self, optionstr: str) -> str:
        return optionstr

    def every(self, key: str) -> list[str]:
        """Every value of a key, in order."""
        return re.findall(rf"^{key}=(.*)$", self.text, re.MULTILINE)


def environment(name: str) -> dict[str, str]:
    """What the unit sets, for an instance `a` and systemd's folder of states."""
    told = dict(value.split("=", 1) for value in Unit(name).every("Environment"))
    return {key: value.replace("%S", "/var/lib").replace("%i", "a") for key, value in told.items()}


def installed(folder: Path, name: str) -> Path:
    """The unit with an executable that is there, for an instance where it is a template."""
    target = folder / name.replace("@.", "@a.")
    target.write_text((FOLDER / name).read_text().replace("/opt/maas/.venv/bin/maas", sys.executable))
    return target


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_the_unit(tmp_path: Path, name: str) -> None:
    """No unknown key, no value that is none: systemd warns of both."""
    command = ["systemd-analyze", "verify", str(installed(tmp_path, name))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "maas" in line]
    assert (done.returncode, ours) == (0, [])


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_little_exposed(tmp_path: Path, name: str) -> None:
    """Its own count of what a service could still do, 0 to 10, stays below 2."""
    unit = installed(tmp_path, name)
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze is older than 250 and judges running services alone")
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


@pytest.mark.parametrize("name", UNITS)
def test_settings_decode(name: str) -> None:
    """The unit's environment is settings: its role, and the folder that systemd makes for it."""
    settings = load_settings(None, environment(name))
    unit = Unit(name)
    assert unit["Service"]["ExecStart"].split()[1:3] == ["serve", "--config"]
    expected = {"maas.service": "all", "maas-control.service": "control", "maas-data@.service": "data"}
    assert settings.role == expected[name]
    assert str(settings.data_dir) == "/var/lib/" + unit["Service"]["StateDirectory"].replace("%i", "a")


@pytest.mark.parametrize("name", UNITS)
def test_a_service_is_not_killed_while_it_drains(name: str) -> None:
    """SIGTERM to the gateway alone, which ends its workers; SIGKILL only after a whole drain by the defaults."""
    service = Unit(name)["Service"]
    assert (service["KillSignal"], service["KillMode"]) == (
        "SIGTERM",
        "mixed" if "control" in name else "process",
    )
    needed_s = drain_s(load_settings(None, environment(name))) if "control" not in name else 10.0
    assert int(service["TimeoutStopSec"]) >= needed_s + LEAVE_S


@pytest.mark.parametrize("name", ["maas.service", "maas-data@.service"])
def test_systemd_leaves_workers_alone_when_another_process_of_theirs_dies(name: str) -> None:
    """Neither a supervisor that was killed nor a worker that the kernel ended for its memory takes the others along."""
    service = Unit(name)["Service"]
    assert (service["KillMode"], service["OOMPolicy"]) == ("process", "continue")
    assert service["Restart"] == "on-failure"


def test_units_are_held_alike() -> None:
    """What one may not do, none may."""
    first, *others = [Unit(name).text.split("# What it may do")[1] for name in UNITS]
    assert others == [first] * len(others)


@pytest.mark.parametrize("name", UNITS)
def test_no_secret_is_in_a_unit(name: str) -> None:
    """Units can be read by everybody: what is secret comes from a file of root's."""
    unit = Unit(name)
    assert unit["Service"]["EnvironmentFile"] == "-/etc/maas/maas.env"
    assert set(environment(name)) == {"MAAS_ROLE", "MAAS_DATA_DIR"}


def test_the_unit_runs_as_the_user_that_is_made() -> None:
    """The user of the units is the one in the file for systemd-sysusers."""
    made = [line.split()[1] for line in (FOLDER / "maas.sysusers").read_text().splitlines() if line[0] == "u"]
    assert {Unit(name)["Service"]["User"] for name in UNITS} == set(made) == {"maas"}
