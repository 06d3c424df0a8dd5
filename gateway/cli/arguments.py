"""Arguments that several verbs take: names, principals, targets, ends of validity. A wrong one is a usage error.

Each function is a click type: it turns the text into the value, or raises `click.BadParameter`.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal

import click
import msgspec

from gateway.cli.dates import SPELL, spell
from gateway.types import MAX_VERSION, NAME, PRINCIPAL, VERSION, WHOLE_BP

_TARGET = re.compile(r"(?P<model>[^@=]+)@(?P<version>[0-9]+)(?:=(?P<weight>.+))?", re.ASCII)
_PERCENT = re.compile(r"(?P<number>[0-9]{1,3}(?:\.[0-9]{1,2})?)%", re.ASCII)
_BASIS_POINTS = re.compile(r"(?P<number>[0-9]{1,5})bp", re.ASCII)


def name(text: str) -> str:
    """The name of an alias, model, team or pool."""
    if not NAME.fullmatch(text):
        raise click.BadParameter(
            f"{text!r} is not a name: 1 to 128 letters, digits, '.', '_' or '-', the first one a letter or digit"
        )
    return text


def principal(text: str) -> str:
    """`app:NAME` or `user:NAME`."""
    if not PRINCIPAL.fullmatch(text):
        raise click.BadParameter(f"{text!r} is not a principal; write app:NAME or user:NAME")
    return text


class Subject(msgspec.Struct, frozen=True):
    """What retires, as written on the command line: an alias, or a version of a model. `path` is where the API has it."""

    words: str
    path: str


def subject(text: str) -> Subject:
    """`ALIAS`, or `MODEL@VERSION`."""
    if "@" not in text:
        return Subject(f"alias {name(text)}", f"/api/v1/aliases/{text}")
    spec = version(text)
    return Subject(f"version {text}", f"/api/v1/models/{spec.model}/versions/{spec.version}")


class TargetSpec(msgspec.Struct, frozen=True):
    """A target as written on the command line; `weight_bp` is None where the weight was left out."""

    model: str
    version: int
    weight_bp: int | None


def target(text: str) -> TargetSpec:
    """`MODEL@VERSION`, `MODEL@VERSION=12.5%` or `MODEL@VERSION=1250bp`."""
    match = _TARGET.fullmatch(text)
    if match is None or not NAME.fullmatch(match["model"]):
        raise click.BadParameter(f"{text!r} is not a target; write MODEL@VERSION=WEIGHT, as in digits@2=10%")
    if not VERSION.fullmatch(match["version"]) or int(match["version"]) > MAX_VERSION:
        raise click.BadParameter(f"{text!r}: a version is a whole number from 1 on, without leading zeros")
    weight_bp = None
    if match["weight"] is not None:
        weight_bp = weight_in_basis_points(match["weight"])
        if weight_bp is None:
            raise click.BadParameter(
                f"{text!r}: a weight is a percentage with up to two decimals (10%, 0.25%) or basis points (1000bp), "
                f"and at most the whole"
            )
    return TargetSpec(match["model"], int(match["version"]), weight_bp)


def version(text: str) -> TargetSpec:
    """`MODEL@VERSION`."""
    spec = target(text)
    if spec.weight_bp is not None:
        raise click.BadParameter(f"{text!r} has a weight; write MODEL@VERSION")
    return spec


class ModelSpec(msgspec.Struct, frozen=True):
    """A model, or one version of it, as written on the command line."""

    model: str
    version: int | None

    @property
    def words(self) -> str:
        """As it was written."""
        return self.model if self.version is None else f"{self.model}@{self.version}"


def model_or_version(text: str) -> ModelSpec:
    """`MODEL`, or `MODEL@VERSION`."""
    if "@" not in text:
        return ModelSpec(name(text), None)
    spec = version(text)
    return ModelSpec(spec.model, spec.version)


def weight_in_basis_points(text: str) -> int | None:
    """`12.5%` and `1250bp` both as 1250, exactly; None for anything else, and for more than the whole."""
    if match := _PERCENT.fullmatch(text):
        weight_bp = int(Decimal(match["number"]) * 100)
    elif match := _BASIS_POINTS.fullmatch(text):
        weight_bp = int(match["number"])
    else:
        return None
    return weight_bp if weight_bp <= WHOLE_BP else None


def expiry(text: str) -> datetime:
    """An end of validity: a spell from now (`90d`, `12h`, `30m`, `2w`), or an ISO date or time, in UTC unless it says."""
    now = datetime.now(UTC)
    try:
        length = spell(text)
        if length is not None:
            return now + length
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(f"{text!r} is neither {SPELL} nor a date such as 2027-03-31") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment <= now:
        raise click.BadParameter(f"{text!r} has passed already")
    return moment
