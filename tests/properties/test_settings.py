"""Settings: whatever is wrong is reported, all of it at once, in words that name the setting."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings import Settings, SettingsError, load_settings


def problems(environ: dict[str, str], text: str | None = None, folder: Path | None = None) -> list[str]:
    """What is found wrong."""
    path = None
    if text is not None and folder is not None:
        path = folder / "maas.toml"
        path.write_text(text)
    with pytest.raises(SettingsError) as refused:
        load_settings(path, environ)
    return refused.value.problems


def test_nothing_said_is_the_defaults() -> None:
    """And the command line's own variables are no settings."""
    assert (
        load_settings(None, {"MAAS_URL": "x", "MAAS_KEY": "y", "MAAS_CONFIG": "z", "PATH": "p"}) == Settings()
    )


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """Two underscores step into a table."""
    path = tmp_path / "maas.toml"
    path.write_text('role = "control"\n[inference]\nport = 1\nhost = "::1"\n')
    found = load_settings(path, {"MAAS_INFERENCE__PORT": "2", "MAAS_DATA_DIR": "/x"})
    assert (found.role, found.inference.port, found.inference.host, found.data_dir) == (
        "control",
        2,
        "::1",
        Path("/x"),
    )


def test_all_problems_are_reported_together() -> None:
    """Wrong types, unknown names and impossible values in one go: nobody starts a gateway five times to learn five faults."""
    found = problems(
        {
            "MAAS_INFERENCE__PORT": "abc",
            "MAAS_INFERENCE__NOSUCH": "1",
            "MAAS_NOSUCH": "1",
            "MAAS_ROLE": "king",
            "MAAS_INFERENCE__DEADLINE_S": "-1",
            "MAAS_CONTROL__PORT": "70000",
            "MAAS_SECRET": "short",
            "MAAS_POOLS__MAIN__ENGINE": "triton",
        }
    )
    for name in (
        "inference.port",
        "inference.nosuch",
        "nosuch",
        "role",
        "inference.deadline_s",
        "control.port",
        "secret",
        "pools.main",
    ):
        assert [line for line in found if line.startswith(name)], (
            name,
            found,
        )


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "0", "-5", "1e999"])
def test_times_that_are_none_are_refused(value: str) -> None:
    """A time without an end is no time."""
    assert problems({"MAAS_INFERENCE__DEADLINE_S": value})


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("quota.wait_s", "1e9", "must be at most 60 seconds, is 1e+09"),
        ("quota.wait_s", "0", "must be a number greater than zero, is 0"),
        ("sequences.wait_s", "60.1", "must be at most 60 seconds, is 60.1"),
        ("admission.queue_wait_s", "61", "must be at most 60 seconds, is 61"),
        ("inference.idle_timeout_s", "604801", "must be at most 604800 seconds, is 604801"),
        ("upstream.connect_timeout_s", "1e9", "must be at most 604800 seconds, is 1e+09"),
        ("samples.retention_days", "36501", "must be at most 36500 days, is 36501"),
        ("samples.retention_days", "-1", "must be zero or a greater number, is -1"),
        ("traces.timeout_s", "1e9", "must be at most 604800 seconds, is 1e+09"),
    ],
)
def test_numbers_beyond_their_bounds_are_refused(setting: str, value: str, says: str) -> None:
    """In words that say which ones are taken: a slip of the hand holds no caller for years."""
    variable = "MAAS_" + setting.upper().replace(".", "__")
    assert problems({variable: value}) == [f"{setting}: {says}"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("quota.wait_s", "60"), ("inference.orphan_limit_s", "604800"), ("samples.retention_days", "0"),
     ("inference.body_min_bytes_per_s", "1000000"), ("traces.most_per_s", "1000000")],
)  # fmt: skip
def test_numbers_at_their_bounds_are_taken(setting: str, value: str) -> None:
    """And rates are no times."""
    part, _, name = setting.partition(".")
    found = load_settings(None, {"MAAS_" + setting.upper().replace(".", "__"): value})
    assert getattr(getattr(found, part), name) == float(value)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    """With the line where it breaks; a missing one with what to do."""
    assert "line 1" in problems({}, "role = = x", tmp_path)[0]
    with pytest.raises(SettingsError, match="maas init"):
        load_settings(tmp_path / "nosuch.toml", {})


@given(
    st.dictionaries(
        st.from_regex(
            r"MAAS_(?:[A-Z_]{0,12}|INFERENCE__[A-Z_]{1,12}|POOLS__[A-Z]{1,3}__(?:ENGINE|ENDPOINTS|X))",
            fullmatch=True,
        ),
        st.text(max_size=10),
        max_size=4,
    )
)
def test_any_environment_is_settings_or_refused(environ: dict[str, str]) -> None:
    """Never another failure."""
    try:
        load_settings(None, environ)
    except SettingsError as error:
        found = error.problems
        assert found
