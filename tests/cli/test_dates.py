"""What the command line takes for a moment."""

from datetime import UTC, datetime, timedelta

import click
import pytest
from click.testing import CliRunner

from gateway.cli import arguments, dates
from gateway.cli.callers import sparkline
from gateway.cli.main import maas


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2027-03-31", datetime(2027, 3, 31, 23, 59, 59, tzinfo=UTC)),
        ("2028-02-29", datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC)),
        ("2027-03-31T12:00:00Z", datetime(2027, 3, 31, 12, tzinfo=UTC)),
        ("2027-03-31T12:00:00+02:00", datetime(2027, 3, 31, 10, tzinfo=UTC)),
        ("2027-03-31T12:00", datetime(2027, 3, 31, 12, tzinfo=UTC)),
    ],
)
def test_a_sunset_is_a_day_or_a_moment(text: str, moment: datetime) -> None:
    """A day is over at its end, in UTC."""
    assert dates.end_of_day(text) == moment


def test_a_spell_counts_from_now() -> None:
    """As with the ends of keys."""
    assert abs(dates.end_of_day("90d") - datetime.now(UTC) - timedelta(days=90)) < timedelta(seconds=5)


def test_a_beginning_is_the_days_first_second() -> None:
    """Or now."""
    assert dates.start_of_day("2027-03-31") == datetime(2027, 3, 31, tzinfo=UTC)
    assert abs(dates.start_of_day("now") - datetime.now(UTC)) < timedelta(seconds=5)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("2027-01-10T09:00Z/15m", 15),
        ("2027-01-10T09:00Z/2027-01-10T10:00Z", 60),
        ("2027-01-10T09:00Z/1d", 1440),
    ],
)
def test_a_brownout_has_a_start_and_an_end(text: str, minutes: int) -> None:
    """The end may be a spell."""
    start, end = dates.brownout(text)
    assert start == datetime(2027, 1, 10, 9, tzinfo=UTC)
    assert end - start == timedelta(minutes=minutes)


@pytest.mark.parametrize(
    "text", ["2027-02-30", "31.03.2027", "tomorrow", "", "2027", "90", "-5d", "1e9d", "99999w99"]
)
def test_what_is_no_date_is_a_usage_error(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(click.BadParameter):
        dates.end_of_day(text)


@pytest.mark.parametrize(
    "text",
    ["2027-01-10", "2027-01-10/15m", "2027-01-10T09:00Z", "9999-12-31T09:00Z/99999w", "15m/15m", "/", "x/y"],
)
def test_what_is_no_brownout_is_a_usage_error(text: str) -> None:
    """A whole day is no short spell, and both ends must be there."""
    with pytest.raises(click.BadParameter):
        dates.brownout(text)


def test_what_retires_is_an_alias_or_a_version() -> None:
    """And nothing with a weight."""
    assert arguments.subject("digits").path == "/api/v1/aliases/digits"
    assert arguments.subject("digits@2").path == "/api/v1/models/digits/versions/2"
    for text in ("digits@2=10%", "digits@", "@1", "a/b", "digits@01"):
        with pytest.raises(click.BadParameter):
            arguments.subject(text)


def test_a_sparkline_shows_every_day_with_a_call() -> None:
    """The lowest letter is a day without any, however busy the others are."""
    assert sparkline([0, 1, 1000, 500], "01234567") == "0174"
    assert sparkline([0, 0], "01") == "00"
    assert sparkline([], "01") == ""


@pytest.mark.parametrize("text", ["2026-13-01", "2026-02-30", "yesterday", "12h", "2026-11-01T09:00Z", ""])
@pytest.mark.parametrize("option", ["--from", "--to"])
def test_what_is_no_day_is_a_usage_error_that_names_its_option(option: str, text: str) -> None:
    """Before anything is asked."""
    done = CliRunner().invoke(maas, ["usage", option, text])
    assert done.exit_code == 2
    assert f"Invalid value for '{option}': {text!r} is no day" in done.output
