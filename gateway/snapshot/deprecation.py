"""What callers are told of the end of an alias or a version, and what forbids such an announcement."""

import math
import re
from bisect import bisect_right
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise

import msgspec

from gateway.snapshot.document import DeprecationEntry
from gateway.types import NAME, Deprecation, Field

MOST_BROWNOUTS = 100
LONGEST_BROWNOUT_S = 86_400
"""What is switched off for longer has ended, and should say so by its sunset."""

_LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
_URL = re.compile(r"https?://[!#$%&'()*+,./0-9:;=?@A-Z\[\]_a-z~-]{1,2000}")


def compile_deprecation(entry: DeprecationEntry) -> Deprecation:
    """The announcement with its header fields, and its brownouts joined where one follows another at once."""
    links = _links(entry)
    return Deprecation(
        _fields(entry.deprecated_at, entry.sunset_at, links),
        entry.deprecated_at,
        entry.sunset_at,
        entry.sunset_at if entry.after_sunset == "gone" else None,
        _joined(entry.brownouts),
        entry.successor,
        links,
    )


def fields_of_both(one: Deprecation, other: Deprecation) -> tuple[Field, ...]:
    """The fields where two announcements apply: of each moment the earlier one, and the links of both."""
    sunsets = [each.sunset_at for each in (one, other) if each.sunset_at is not None]
    return _fields(
        min(one.deprecated_at, other.deprecated_at),
        min(sunsets, default=None),
        tuple(dict.fromkeys(one.links + other.links)),
    )


def is_off(deprecation: Deprecation, now: float) -> bool:
    """Whether there is nothing but a 410 at `now`: the end has come, or a brownout."""
    if deprecation.gone_at is not None and now >= deprecation.gone_at:
        return True
    return bool(deprecation.brownouts) and spell_at(deprecation, now) is not None


def spell_at(deprecation: Deprecation, now: float) -> tuple[float, float] | None:
    """The brownout in which `now` lies, if any."""
    spells = deprecation.brownouts
    index = bisect_right(spells, (now, math.inf)) - 1
    return spells[index] if index >= 0 and now < spells[index][1] else None


def _fields(deprecated_at: float, sunset_at: float | None, links: tuple[str, ...]) -> tuple[Field, ...]:
    """Deprecation (RFC 9745), Sunset (RFC 8594) and Link (RFC 8288)."""
    fields: list[Field] = [(b"Deprecation", b"@%d" % deprecated_at)]
    if sunset_at is not None:
        fields.append(
            (b"Sunset", format_datetime(datetime.fromtimestamp(sunset_at, UTC), usegmt=True).encode())
        )
    if links:
        fields.append((b"Link", ", ".join(links).encode()))
    return tuple(fields)


def _links(entry: DeprecationEntry) -> tuple[str, ...]:
    links = []
    if entry.info_url is not None:
        links.append(f'<{entry.info_url}>; rel="deprecation"; type="text/html"')
        if entry.sunset_at is not None:
            links.append(f'<{entry.info_url}>; rel="sunset"; type="text/html"')
    if entry.successor is not None:
        links.append(f'</v2/models/{entry.successor}>; rel="successor-version"')
    return tuple(links)


def _joined(spells: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    joined: list[tuple[float, float]] = []
    for start, end in sorted(spells):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)


def deprecation_problems(what: str, entry: DeprecationEntry) -> list[str]:
    """What forbids the announcement, one line each. Whether the successor exists is not asked here."""
    found: list[str] = []
    moments = [entry.deprecated_at, *(moment for spell in entry.brownouts for moment in spell)]
    if entry.sunset_at is not None:
        moments.append(entry.sunset_at)
    if not all(math.isfinite(moment) and 0 <= moment < _LATEST for moment in moments):
        return [f"{what}: a moment lies outside of the years 1970 to 9999"]
    if entry.sunset_at is not None and entry.sunset_at < entry.deprecated_at:
        found.append(f"{what}: the sunset lies before the deprecation")
    if entry.after_sunset == "gone" and entry.sunset_at is None:
        found.append(f"{what}: it cannot be gone after a sunset that it does not have")
    if entry.successor is not None and not NAME.fullmatch(entry.successor):
        found.append(f"{what}: the successor {entry.successor!r} is no name of an alias")
    if entry.info_url is not None and not _URL.fullmatch(entry.info_url):
        found.append(f"{what}: {entry.info_url!r} is no http or https address")
    return found + _brownout_problems(what, entry)


def _brownout_problems(what: str, entry: DeprecationEntry) -> list[str]:
    found: list[str] = []
    spells = sorted(entry.brownouts)
    if len(spells) > MOST_BROWNOUTS:
        found.append(f"{what}: more than {MOST_BROWNOUTS} brownouts")
    if any(end <= start for start, end in spells):
        found.append(f"{what}: a brownout ends before it begins")
    if any(later[0] < earlier[1] for earlier, later in pairwise(spells)):
        found.append(f"{what}: two brownouts overlap")
    if spells and spells[0][0] < entry.deprecated_at:
        found.append(f"{what}: a brownout lies before the deprecation")
    if spells and entry.sunset_at is not None and spells[-1][1] > entry.sunset_at:
        found.append(f"{what}: a brownout lies after the sunset")
    return found


def announcement_problems(
    what: str, entry: DeprecationEntry, standing: DeprecationEntry | None, now: float
) -> list[str]:
    """What forbids to announce this at `now` where `standing` is announced: what forbids it ever, and no notice given.

    One line each. What stands already may have passed: an end that has come can still be told better.
    """
    sunset = entry.sunset_at
    late = []
    if sunset is not None and sunset <= now and (standing is None or standing.sunset_at != sunset):
        late.append(f"{what}: the sunset {_written(sunset)} has passed; callers need a date ahead")
        # That it lies before a deprecation that begins now as well is the same fault.
        entry = msgspec.structs.replace(entry, deprecated_at=min(entry.deprecated_at, sunset))
    known = () if standing is None else standing.brownouts
    for start, end in entry.brownouts:
        if end <= now and (start, end) not in known:
            late.append(f"{what}: the brownout that ends {_written(end)} is over already")
        if end - start > LONGEST_BROWNOUT_S:
            late.append(
                f"{what}: the brownout from {_written(start)} is longer than a day; set the sunset instead"
            )
    return deprecation_problems(what, entry) + late


def _written(moment: float) -> str:
    try:
        return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return str(moment)
