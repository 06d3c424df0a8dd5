"""`maas init`: a fresh installation, made once."""

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.apikey import parse_key
from gateway.cli.main import maas
from gateway.controlplane.plane import ControlPlane
from gateway.secret import load_secret
from gateway.settings import load_settings


def test_init_makes_everything_that_serve_needs(tmp_path: Path) -> None:
    """Settings, secret, rules and database stand there, private; standard output holds the first key alone."""
    result = CliRunner().invoke(maas, ["init", "--dir", str(tmp_path / "new")])
    assert result.exit_code == 0, result.output
    key = result.stdout.strip()
    assert parse_key(key) is not None
    settings = load_settings(tmp_path / "new" / "maas.toml", {})
    assert settings.data_dir == tmp_path / "new" / "maas-data"
    for path, mode in ((settings.data_dir, 0o700), (settings.data_dir / "secret", 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "new" / "maas.toml").stat().st_mode) == 0o600
    control = ControlPlane(settings.database_url, load_secret(settings), settings.policies.folder)
    assert control.open()
    published = control.publisher.published
    assert published is not None
    assert [entry.principal for entry in published.document.keys] == ["user:admin"]
    assert published.snapshot.decide("user:admin", "platform", "@keys", "admin")
    control.close()


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    """A second run is refused and changes neither the settings nor the rules."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "rules.csv").write_text("mine")
    assert CliRunner().invoke(maas, ["init", "--dir", str(tmp_path), "--json"]).exit_code == 0
    assert (tmp_path / "policies" / "rules.csv").read_text() == "mine"
    before = (tmp_path / "maas.toml").read_bytes()
    again = CliRunner().invoke(maas, ["init", "--dir", str(tmp_path)])
    assert again.exit_code == 1
    assert "exists already" in again.stderr
    assert (tmp_path / "maas.toml").read_bytes() == before


def test_a_second_settings_file_on_the_same_database_gets_no_second_key(tmp_path: Path) -> None:
    """Losing maas.toml is no way to a fresh administrator's key."""
    first = json.loads(CliRunner().invoke(maas, ["init", "--dir", str(tmp_path), "--json"]).stdout)
    assert first["admin_key"]
    (tmp_path / "maas.toml").unlink()
    second = json.loads(CliRunner().invoke(maas, ["init", "--dir", str(tmp_path), "--json"]).stdout)
    assert second["admin_key"] is None


def test_init_takes_the_data_folder_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first key is made where a service that has MAAS_DATA_DIR will look for it, and the file says the same."""
    monkeypatch.setenv("MAAS_DATA_DIR", str(tmp_path / "data"))
    result = CliRunner().invoke(maas, ["init", "--dir", str(tmp_path / "etc")])
    assert result.exit_code == 0, result.output
    assert load_settings(tmp_path / "etc" / "maas.toml", {}).data_dir == tmp_path / "data"
    assert (tmp_path / "data" / "maas.db").exists()
    assert not (tmp_path / "etc" / "maas-data").exists()


@pytest.mark.parametrize("url", ["mysql://h/x", "postgresql://maas@127.0.0.1:9/none", "nonsense"])
def test_a_database_that_cannot_be_used_leaves_no_settings_behind(tmp_path: Path, url: str) -> None:
    """Refused in one line, so that init can simply be run again."""
    result = CliRunner().invoke(maas, ["init", "--dir", str(tmp_path), "--database-url", url])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.glob("*maas.toml*"))
