"""The settings file that `maas init` writes."""

import re
from pathlib import Path

from gateway.cli.settings_file import settings_text
from gateway.issuers import RoleClaim
from gateway.settings import Settings, load_settings


def test_every_setting_stands_there_with_its_default(tmp_path: Path) -> None:
    """Taking the comment signs off all lines with a default gives the very defaults; none is missing or unknown."""
    settings, *_examples = settings_text().split("\n# [")
    uncommented = re.sub(r"^# (?=[a-z_]+ = )", "", settings, flags=re.MULTILINE)
    for example in ("secret", "url", "redis_url", "model_repository", "access"):
        uncommented = re.sub(rf"^{example} = .*$", "", uncommented, flags=re.MULTILINE)
    path = tmp_path / "maas.toml"
    path.write_text(uncommented)
    assert load_settings(path, {}) == Settings()
    for name in (
        "port",
        "deadline_s",
        "probe_interval_s",
        "threads",
        "folder",
        "level",
        "max_idle_connections",
    ):
        assert re.search(rf"^{name} = ", uncommented, re.MULTILINE)


def test_the_file_as_written_changes_nothing(tmp_path: Path) -> None:
    """All is commented out, so the defaults of a later release still reach those who kept the file."""
    path = tmp_path / "maas.toml"
    path.write_text(settings_text())
    assert load_settings(path, {}) == Settings()


def test_what_was_chosen_is_in_force(tmp_path: Path) -> None:
    """Chosen values are written as TOML that reads back exactly, quotes and backslashes included."""
    folder = '/srv/a "b" \\c'
    path = tmp_path / "maas.toml"
    path.write_text(settings_text({"data_dir": Path(folder), "inference.port": 9000}))
    settings = load_settings(path, {})
    assert settings.data_dir == Path(folder)
    assert settings.inference.port == 9000


def test_the_examples_are_settings_too(tmp_path: Path) -> None:
    """Taking the comment signs off everything, the examples of pools and issuers too, gives a file that is accepted."""
    path = tmp_path / "maas.toml"
    path.write_text(re.sub(r"^# (?=[a-z_]+ = |\[)", "", settings_text(), flags=re.MULTILINE))
    found = load_settings(path, {})
    assert found.pools["gpu"].endpoints == ("http://10.0.0.5:8000", "http://10.0.0.6:8000")
    assert found.issuers["company"].roles == (
        RoleClaim("groups", "ml-vision-consumers", "role:consumer", "vision"),
    )
