"""The limits of a quota as people write them, and back: `100/minute`, `tokens=10000/day`, `concurrent=8`."""

import re
from collections.abc import Sequence
from typing import Any

import click

from gateway.snapshot.quotas import MOST_QUOTA

_SIZES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_WINDOWS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_UNITS = {
    "requests": "requests",
    "bytes": "content-bytes",
    "content-bytes": "content-bytes",
    "inferences": "inferences",
    "tokens": "tokens",
    "concurrent": "concurrent-requests",
    "concurrent-requests": "concurrent-requests",
}
_LEFT_OUT = {"burst": "the whole quota at once", "estimate": "1"}
_SPEC = re.compile(
    r"(?:(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,127}):)?(?:(?P<unit>[a-z-]+)=)?(?P<quota>[0-9]{1,40})(?P<size>[kMG]?)"
    r"(?:/(?P<every>[0-9]{1,8}s|second|minute|hour|day|week))?(?P<rest>(?:,(?:burst|estimate)=[0-9]{1,40}[kMG]?)*)",
    re.ASCII,
)
_NEGATIVE = re.compile(r"-[0-9]", re.ASCII)
HOW = "write [NAME:][UNIT=]QUOTA/WINDOW[,burst=N][,estimate=N], as in 100/minute, tokens=10k/day or concurrent=8; WINDOW is second, minute, hour, day, week or a number of seconds (90s)"


class WithLimits(click.Command):
    """A verb that takes limits: one that begins with a minus sign is a negative limit, and no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's. Raises `click.UsageError`."""
        for text in args:
            if _NEGATIVE.match(text):
                raise click.UsageError(f"{text!r}: a limit is not negative; {HOW}", ctx)
        return super().parse_args(ctx, args)


def limit(text: str) -> dict[str, Any]:
    """A limit as the API takes it. Raises `click.BadParameter`."""
    match = _SPEC.fullmatch(text)
    if match is None:
        raise click.BadParameter(f"{text!r} is not a limit; {HOW}")
    unit = _UNITS.get(match["unit"] or "requests")
    if unit is None:
        raise click.BadParameter(f"{text!r}: the unit is one of {', '.join(_UNITS)}")
    every = match["every"]
    if (every is None) != (unit == "concurrent-requests"):
        raise click.BadParameter(
            f"{text!r}: only concurrent requests have no window, and they have none; {HOW}"
        )
    quota = _units(match["quota"] + match["size"])
    if quota > MOST_QUOTA:
        raise click.BadParameter(f"{text!r}: the largest quota is {MOST_QUOTA}")
    found: dict[str, Any] = {
        "name": match["name"] or _default_name(unit, every),
        "unit": unit,
        "quota": quota,
    }
    if every is not None:
        found["window_s"] = _WINDOWS.get(every) or int(every[:-1])
    for option in filter(None, match["rest"].split(",")):
        key, _, written_units = option.partition("=")
        units = _units(written_units)
        if units == 0:
            raise click.BadParameter(f"{text!r}: the {key} is at least 1; leave it out for {_LEFT_OUT[key]}")
        if units > quota:
            raise click.BadParameter(f"{text!r}: the {key} is larger than the quota of {quota}")
        found[key] = units
    return found


def all_limits(_: click.Context, __: click.Parameter, texts: Sequence[str]) -> list[dict[str, Any]]:
    """The limits of an argument that may have many. Raises `click.BadParameter` for all that are none, together."""
    found: list[dict[str, Any]] = []
    wrong: list[str] = []
    for text in texts:
        try:
            found.append(limit(text))
        except click.BadParameter as error:
            wrong.append(error.message)
    if wrong:
        raise click.BadParameter("\n  ".join(wrong))
    return found


def whole(found: dict[str, Any]) -> dict[str, Any]:
    """A limit of `limit` with what the API fills in."""
    return {"window_s": 0, "burst": found["quota"], "estimate": 1} | found


def written(found: dict[str, Any]) -> str:
    """A limit of the API as people write it."""
    unit = {"requests": "", "concurrent-requests": "concurrent=", "content-bytes": "bytes="}.get(
        found["unit"], f"{found['unit']}="
    )
    text = f"{found['name']}:{unit}{found['quota']}"
    if found["window_s"]:
        names = {seconds: name for name, seconds in _WINDOWS.items()}
        text += f"/{names.get(found['window_s'], str(found['window_s']) + 's')}"
        if found["burst"] != found["quota"]:
            text += f",burst={found['burst']}"
    return text if found["estimate"] == 1 else f"{text},estimate={found['estimate']}"


def _units(text: str) -> int:
    """`10`, `10k`, `10M`, `10G`."""
    size = text[-1] if text[-1] in _SIZES else ""
    return int(text.removesuffix(size)) * _SIZES[size]


def _default_name(unit: str, every: str | None) -> str:
    """`minute`, `tokens-day`, `concurrent`."""
    if every is None:
        return "concurrent"
    return every if unit == "requests" else f"{unit}-{every}"
