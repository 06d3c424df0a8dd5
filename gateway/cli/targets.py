"""The targets of `maas alias set`: missing weights filled in, sums checked, and the change told before it is made."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import click

from gateway.cli.arguments import TargetSpec
from gateway.snapshot.document import TargetEntry
from gateway.snapshot.split import same_release
from gateway.types import WHOLE_BP


def weighted(specs: Sequence[TargetSpec]) -> list[TargetEntry]:
    """The targets with every weight known: the one without a weight gets what the others leave.

    Raises `click.UsageError` for more than one such target, for one named twice, and for a sum that is not the whole.
    """
    open_ones = [spec for spec in specs if spec.weight_bp is None]
    named = [(spec.model, spec.version) for spec in specs]
    given_bp = sum(spec.weight_bp or 0 for spec in specs)
    if len(open_ones) > 1:
        raise click.UsageError(
            f"{_label(open_ones[0])} and {_label(open_ones[1])} have no weight; only one target may get the rest"
        )
    for spec in specs:
        if named.count((spec.model, spec.version)) > 1:
            raise click.UsageError(f"{_label(spec)} stands there twice; write each target once")
    if given_bp > WHOLE_BP or (not open_ones and given_bp != WHOLE_BP):
        difference = abs(WHOLE_BP - given_bp)
        direction = "more" if given_bp > WHOLE_BP else "less"
        raise click.UsageError(
            f"the weights sum to {percent(given_bp)}, {percent(difference)} {direction} than the whole; "
            f"nothing was changed"
        )
    rest_bp = WHOLE_BP - given_bp
    return [
        TargetEntry(spec.model, spec.version, rest_bp if spec.weight_bp is None else spec.weight_bp)
        for spec in specs
    ]


def percent(weight_bp: int) -> str:
    """1250 as `12.5%`."""
    return f"{(Decimal(weight_bp) / 100).normalize():f}%"


def written(targets: Sequence[Mapping[str, Any]]) -> str:
    """An alias's targets as `maas alias set` would take them."""
    return " ".join(f"{t['model']}@{t['version']}={percent(t['weight'])}" for t in targets)


def entries(targets: Sequence[Mapping[str, Any]]) -> list[TargetEntry]:
    """Targets of the API, decoded."""
    return [TargetEntry(t["model"], t["version"], t["weight"]) for t in targets]


def body(targets: Sequence[TargetEntry]) -> list[dict[str, object]]:
    """Targets for the API."""
    return [{"model": t.model, "version": t.version, "weight": t.weight_bp} for t in targets]


def effect(alias: str, old: Sequence[TargetEntry], new: Sequence[TargetEntry]) -> list[str]:
    """What a change of targets does to each of them, one line a target."""
    before = {(t.model, t.version): t.weight_bp for t in old}
    after = {(t.model, t.version): t.weight_bp for t in new}
    lines = [f"alias {alias}:"]
    for model, version in dict.fromkeys([*after, *before]):
        had, gets = before.get((model, version)), after.get((model, version))
        arm = "stable" if new and (new[0].model, new[0].version) == (model, version) else "candidate"
        was = "new" if had is None else percent(had)
        becomes = "gone" if gets is None else f"{percent(gets)} ({arm})"
        lines.append(f"  {f'{model}@{version}':<20} {was:>7} -> {becomes}")
    return lines


def moved(old: Sequence[TargetEntry], new: Sequence[TargetEntry]) -> str:
    """Whose version changes. Within a release only the buckets that weights force to move do; a new release has a
    new salt, so its buckets are independent of the old ones (gateway.snapshot.split).
    """
    if not old:
        return "The alias is new: nobody calls it yet."
    before = {(t.model, t.version): t.weight_bp for t in old}
    after = {(t.model, t.version): t.weight_bp for t in new}
    if same_release(old, new):
        moved_bp = sum(max(0, weight - after.get(target, 0)) for target, weight in before.items())
        if not moved_bp:
            return "Nobody changes version."
        return f"{percent(moved_bp)} of callers change version; whoever is on a growing target stays on it."
    stay_bp = sum(weight * after.get(target, 0) for target, weight in before.items()) // WHOLE_BP
    return f"A new release: callers are dealt out anew, about {percent(WHOLE_BP - stay_bp)} of them change version."


def _label(spec: TargetSpec) -> str:
    return f"{spec.model}@{spec.version}"
