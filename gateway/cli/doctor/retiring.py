"""What the doctor says of announced ends: those that came with callers left, those that come soon, successors that are gone."""

import time
from collections.abc import Iterator, Mapping, Set

from gateway.cli.doctor.asking import shown
from gateway.cli.doctor.findings import Finding, ok, warning
from gateway.settings import Settings
from gateway.snapshot.document import DeprecationEntry, SnapshotDocument

CHECK = "deprecations"
_SOON_S = 14 * 86_400


def look_at_deprecations(settings: Settings, document: SnapshotDocument | None) -> Iterator[Finding]:
    """The announcements of the snapshot; how many still call is known to who has a MAAS_KEY that may see them."""
    if document is None:
        return
    ends = {alias.name: alias.deprecation for alias in document.aliases if alias.deprecation is not None}
    for model in document.models:
        ends |= {f"{model.name}@{each.version}": each.deprecation for each in model.deprecations}
    if ends:
        aliases = {alias.name for alias in document.aliases}
        yield from judge(ends, aliases, _callers(settings), time.time())


def judge(
    ends: Mapping[str, DeprecationEntry], aliases: Set[str], callers: Mapping[str, int], now: float
) -> Iterator[Finding]:
    """What is to be said of each end, at `now` in Unix seconds; `callers` lacks those that nobody may tell of here."""
    findings = [
        finding
        for what, end in sorted(ends.items())
        for finding in _look(what, end, callers.get(what), aliases, now)
    ]
    yield from findings or [ok(CHECK, f"{len(ends)} announced, none due within 14 days with callers left")]


def _look(
    what: str, end: DeprecationEntry, callers: int | None, aliases: Set[str], now: float
) -> Iterator[Finding]:
    if end.successor is not None and end.successor not in aliases:
        found = f"{what} sends its callers to {end.successor}, which there is not"
        yield warning(CHECK, found, f"name another one: maas deprecate {what} --successor ALIAS")
    if end.sunset_at is None or callers == 0:
        return
    left_s = end.sunset_at - now
    still = (
        "who still calls is not known without a MAAS_KEY" if callers is None else f"{callers} still call it"
    )
    who = f"see who: maas callers {what}"
    if left_s <= 0 and end.after_sunset == "serve":
        yield warning(
            CHECK,
            f"{what} is past its sunset, and served on; {still}",
            f"{who}; then delete it, or give it a later --sunset or --after-sunset gone",
        )
    elif left_s <= 0 and callers:
        yield warning(CHECK, f"{what} is gone, and its callers get 410; {still}", who)
    elif 0 < left_s <= _SOON_S:
        then = "answers 410" if end.after_sunset == "gone" else "is past its sunset"
        yield warning(CHECK, f"{what} {then} in {left_s / 86_400:.1f} days; {still}", who)


def _callers(settings: Settings) -> dict[str, int]:
    """How many still call each of what retires, as far as MAAS_KEY may see it."""
    found = shown(settings, "/api/v1/deprecations", "deprecations")
    return {each["alias"] or f"{each['model']}@{each['version']}": each["callers"] for each in found}
