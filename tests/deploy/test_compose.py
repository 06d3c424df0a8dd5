"""The compose file, and what it mounts: names, ports, images and settings that agree. No engine is at hand to start it."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from gateway.settings import Settings, load_settings
from tests.deploy.manifests import DEPLOY
from tests.deploy.test_pods import LEAVE_S, drain_s

FILE = DEPLOY / "compose.yaml"
PLANES = ("control", "data")
SECRETS = {"MAAS_SECRET", "POSTGRES_PASSWORD", "GRAFANA_PASSWORD"}


def compose() -> dict[str, Any]:
    """The file as it stands."""
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return found


def services() -> dict[str, dict[str, Any]]:
    """The services by name."""
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def filled(text: str) -> str:
    """The text with its variables' defaults, and a stand-in for those that must be set."""
    text = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text)
    return re.sub(r"\$\{[A-Z_]+:\?[^}]*\}", "a-stand-in-that-is-long-enough-to-be-taken", text)


def decoded(role: str) -> Settings:
    """The settings of the role's container."""
    told = {name: filled(value) for name, value in services()[role]["environment"].items()}
    return load_settings(DEPLOY / "compose" / "maas.toml", told | {"MAAS_DATA_DIR": "/var/lib/maas"})


def seconds(text: str) -> float:
    """A duration in seconds."""
    assert text.endswith("s")
    return float(text.removesuffix("s"))


@pytest.mark.parametrize("role", PLANES)
def test_settings_decode(role: str) -> None:
    """File and environment are settings that the gateway takes, for its role."""
    settings = decoded(role)
    assert settings.role == role
    assert settings.inference.host == settings.control.host == "0.0.0.0"
    assert (settings.database.url is None) == (role == "data")
    assert "./compose/maas.toml:/etc/maas/maas.toml:ro" in services()[role]["volumes"]


def test_names_lead_to_services() -> None:
    """Every host that a setting, a scrape or a data source names is a service on a network with who calls it."""
    found = services()
    told = [(url, "data") for pool in decoded("data").pools.values() for url in pool.endpoints]
    told += [(decoded("data").control_url, "data"), (str(decoded("control").database.url), "control")]
    told.append((str(decoded("data").quota.redis_url), "data"))
    scrapes = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    targets = [target for job in scrapes for each in job["static_configs"] for target in each["targets"]]
    told += [(f"http://{target}", "prometheus") for target in targets if "localhost" not in target]
    (source,) = grafana_sources()
    told.append((source["url"], "grafana"))
    for url, caller in told:
        host = urlsplit(url).hostname
        assert host in found, url
        assert set(found[host]["networks"]) & set(found[caller]["networks"]), url


def grafana_sources() -> list[dict[str, Any]]:
    """The provisioned data sources."""
    path = DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yaml"
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text())["datasources"]
    return found


def test_prometheus_scrapes_where_metrics_are() -> None:
    """Both planes, at the port where the settings put their metrics; and Grafana asks that Prometheus."""
    scrapes = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in scrapes}
    assert targets["maas-data"] == [f"data:{decoded('data').inference.ops_port}"]
    assert targets["maas-control"] == [f"control:{decoded('control').control.port}"]
    (source,) = grafana_sources()
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    assert urlsplit(source["url"]).port == 9090


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here (Debian: prometheus)")
def test_promtool_takes_the_configuration() -> None:
    """Prometheus itself says that it can read it."""
    command = ["promtool", "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_only_loopback_is_published() -> None:
    """What listens on the machine listens for the machine alone, and each published port is one of the settings."""
    published: dict[str, list[str]] = {name: each.get("ports", []) for name, each in services().items()}
    assert all(port.startswith("127.0.0.1:") for each in published.values() for port in each)
    inference = decoded("data").inference
    assert published["data"] == [
        f"127.0.0.1:8080:{inference.port}",
        f"127.0.0.1:8081:{inference.grpc_port}",
    ]
    assert published["control"] == [f"127.0.0.1:8090:{decoded('control').control.port}"]
    for name in ("triton", "postgres", "redis"):
        assert published[name] == []
        assert services()[name]["networks"] == ["back"]
    assert compose()["networks"]["back"] == {"internal": True}


def test_images_have_a_fixed_version() -> None:
    """Each is a variable, so that it can be named by digest, and its default does not float."""
    for name, each in services().items():
        assert re.fullmatch(r"\$\{[A-Z_]+_IMAGE:-[^}]+\}", each["image"]), name
        _, _, tag = filled(each["image"]).rpartition(":")
        assert re.fullmatch(r"v?[0-9][A-Za-z0-9._-]*", tag), name


def test_what_is_secret_must_be_set() -> None:
    """No secret has a value or a default in the file: what is not set stops the start and says what to do."""
    text = FILE.read_text()
    assert set(re.findall(r"\$\{([A-Z_]+):\?run deploy/compose/secrets.sh first\}", text)) == SECRETS
    for name in SECRETS:
        assert f"${{{name}}}" not in text
        assert f"${{{name}:-" not in text


def test_secrets_are_made_once(tmp_path: Path) -> None:
    """The script fills every variable with fresh text that fits into a URL, for the owner alone, and never again."""
    shutil.copytree(DEPLOY / "compose", tmp_path / "compose")
    command = ["sh", str(tmp_path / "compose" / "secrets.sh")]
    assert subprocess.run(command, check=False).returncode == 0
    made = (tmp_path / ".env").read_text()
    values = dict(line.split("=", 1) for line in made.splitlines())
    assert set(values) == SECRETS
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{48}", value) for value in values.values())
    assert len(set(values.values())) == len(values)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (again.returncode, (tmp_path / ".env").read_text()) == (1, made)
    assert "already" in again.stderr
    assert "/deploy/.env" in (DEPLOY.parent / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("name", sorted(services()))
def test_containers_are_held_tightly(name: str) -> None:
    """No new privileges, no capabilities, a root that cannot be written; PostgreSQL's image needs more to make its folder."""
    each = services()[name]
    if name == "postgres":
        assert "privileged" not in each
        return
    assert each["read_only"] is True
    assert each["cap_drop"] == ["ALL"]
    assert each["security_opt"] == ["no-new-privileges:true"]


def test_a_container_is_not_killed_while_it_drains() -> None:
    """SIGTERM starts the drain, and SIGKILL comes only after all of it could have happened."""
    assert seconds(services()["data"]["stop_grace_period"]) >= drain_s(decoded("data")) + LEAVE_S
    assert seconds(services()["control"]["stop_grace_period"]) >= 15


def test_mounts_are_there() -> None:
    """Each file or folder that is mounted exists, and each named volume is declared."""
    declared = set(compose()["volumes"])
    for each in services().values():
        for mount in each.get("volumes", []):
            source = filled(mount).split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), mount
            else:
                assert source in declared, mount
    build = services()["control"]["build"]
    assert (FILE.parent / build["context"] / build["dockerfile"]).is_file()
    assert os.path.samefile(FILE.parent / build["context"], DEPLOY.parent)
