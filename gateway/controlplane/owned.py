"""What teams own, aliases and models: found, seen by whom, and changed by whom. All features that are about one ask here."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.controlplane.edge.caller import Caller
from gateway.db.models import AliasRow, ModelRow, TargetRow
from gateway.errors import GatewayError, Kind
from gateway.policy.rules import PLATFORM
from gateway.types import NAME


def alias(session: Session, name: str) -> AliasRow | None:
    """The alias of that name, whoever may see it."""
    return session.get(AliasRow, name) if NAME.fullmatch(name) else None


def aliases(session: Session, team: str | None = None) -> Sequence[AliasRow]:
    """All aliases, or those of one team, by name."""
    query = select(AliasRow).order_by(AliasRow.name)
    if team is not None:
        query = query.where(AliasRow.team == team)
    return session.scalars(query).all()


def aliases_of_version(session: Session, model: str, version: int) -> Sequence[str]:
    """The names of the aliases that have the version as a target, whatever its weight."""
    query = select(TargetRow.alias).where(TargetRow.model == model, TargetRow.version == version)
    return session.scalars(query.distinct().order_by(TargetRow.alias)).all()


def may_see_alias(caller: Caller, name: str, team: str) -> bool:
    """Whether the caller may know of the alias."""
    return caller.may("read", name, team) or caller.may("flip", name, team)


def seen_alias(session: Session, caller: Caller, name: str) -> AliasRow:
    """The alias. Raises NOT_FOUND, in the same words for one that the caller may not see."""
    row = alias(session, name)
    if row is None or not may_see_alias(caller, name, row.team):
        raise unknown_alias(name)
    return row


def unknown_alias(name: str) -> GatewayError:
    """What is said of an alias that does not exist, or is not for the caller to know."""
    return GatewayError(Kind.NOT_FOUND, f"There is no alias {name!r}, or you may not see it.")


def demand_flip(caller: Caller, name: str, team: str) -> None:
    """Raises FORBIDDEN, or NOT_FOUND to who may not even see the alias."""
    if not caller.may("flip", name, team):
        if not caller.may("read", name, team):
            raise unknown_alias(name)
        caller.refuse("flip", name, team)


def may_see_model(caller: Caller, row: ModelRow) -> bool:
    """Whether the caller may know of the model."""
    return caller.may("read", row.name, row.team) or caller.may("read", "@models", PLATFORM)


def seen_model(session: Session, caller: Caller, name: str) -> ModelRow:
    """The model. Raises NOT_FOUND, in the same words for one that the caller may not see."""
    row = session.get(ModelRow, name) if NAME.fullmatch(name) else None
    if row is None or not may_see_model(caller, row):
        raise GatewayError(Kind.NOT_FOUND, f"There is no model {name!r}, or you may not see it.")
    return row


def demand_register(caller: Caller, name: str, team: str) -> None:
    """Raises FORBIDDEN for who may not register the model."""
    if not (caller.may("admin", "@models", PLATFORM) or caller.may("flip", name, team)):
        caller.refuse("flip", name, team)
