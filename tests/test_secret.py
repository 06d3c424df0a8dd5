"""The installation's secret is whole or refused."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.secret import load_secret
from gateway.settings import Settings, SettingsError


def test_all_who_start_at_once_share_one_secret(tmp_path: Path) -> None:
    """Many starts on one empty data folder: one secret, for its owner alone to read."""
    settings = Settings(data_dir=tmp_path)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: load_secret(settings), range(32)))
    assert len(found) == 1
    assert len(found.pop()) >= 32
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


@pytest.mark.parametrize("content", ["", "\n", "short"])
def test_half_a_secret_is_refused(tmp_path: Path, content: str) -> None:
    """An empty or cut file is not taken for a secret: keys would be digested under nothing."""
    (tmp_path / "secret").write_text(content)
    with pytest.raises(SettingsError, match="no whole secret"):
        load_secret(Settings(data_dir=tmp_path))
