"""Moments as people write them: a day, a moment with its zone, a spell from now. All in UTC unless the text says otherwise.

Each function is a click type: it turns the text into the value, or raises `click.BadParameter`.
"""

import re
from datetime import UTC, date, datetime, time, timedelta

import click

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_SPELL = re.compile(r"(?P<number>[1-9][0-9]{0,4})(?P<unit>[mhdw])", re.ASCII)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
SPELL = "a spell in minutes, hours, days or weeks (30m, 12h, 90d, 2w)"
_HOW = f"write a day (2027-03-31), a moment (2027-03-31T12:00:00Z) or {SPELL} from now"


def end_of_day(text: str) -> datetime:
    """A day means its last second."""
    return _moment(text, time(23, 59, 59))


def start_of_day(text: str) -> datetime:
    """A day means its first second; `now` is now."""
    if text == "now":
        return datetime.now(UTC).replace(microsecond=0)
    return _moment(text, time(0, 0, 0))


def day(text: str) -> str:
    """A day, as it is written."""
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no day; write YYYY-MM-DD, as in 2027-03-31") from error


def spell(text: str) -> timedelta | None:
    """`15m`, `12h`, `90d` or `2w`; None for anything else."""
    match = _SPELL.fullmatch(text)
    return None if match is None else timedelta(**{_UNITS[match["unit"]]: int(match["number"])})


def brownout(text: str) -> tuple[datetime, datetime]:
    """`START/END`, where the end may be a spell: `2027-01-10T09:00Z/15m` (as ISO 8601 writes an interval)."""
    start_text, slash, end_text = text.partition("/")
    if not slash:
        raise click.BadParameter(
            f"{text!r} is no spell of time; write START/END, as in 2027-01-10T09:00Z/15m; the end is a moment or {SPELL}"
        )
    start = _moment(start_text, None)
    length = spell(end_text)
    try:
        return start, start + length if length is not None else _moment(end_text, None)
    except OverflowError as error:
        raise click.BadParameter(f"{text!r} ends beyond all time") from error


def _moment(text: str, of_a_day: time | None) -> datetime:
    """The moment; of a bare day that at `of_a_day`, which None forbids."""
    try:
        length = spell(text)
        if length is not None and of_a_day is not None:
            return (datetime.now(UTC) + length).replace(microsecond=0)
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(f"{text!r} is no date; {_HOW}") from error
    if _DAY.fullmatch(text):
        if of_a_day is None:
            raise click.BadParameter(f"{text!r} is a whole day; write a moment, as in {text}T09:00Z")
        found = datetime.combine(found, of_a_day)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
