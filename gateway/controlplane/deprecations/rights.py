"""Who may see what retires, and who may announce its end."""

from sqlalchemy.orm import Session

from gateway.controlplane import owned
from gateway.controlplane.deprecations.subject import AliasSubject, Subject
from gateway.controlplane.edge.caller import Caller
from gateway.errors import GatewayError, Kind


def team_of(session: Session, caller: Caller, subject: Subject) -> str:
    """The team that owns it. Raises NOT_FOUND, in the same words for what the caller may not see."""
    if isinstance(subject, AliasSubject):
        return owned.seen_alias(session, caller, subject.alias).team
    row = owned.seen_model(session, caller, subject.model)
    if all(each.version != subject.version for each in row.versions):
        raise GatewayError(Kind.NOT_FOUND, f"Model {subject.model} has no version {subject.version}.")
    return row.team


def may_announce(caller: Caller, subject: Subject, team: str) -> bool:
    """Whether the caller may announce its end: who may flip the alias, or register the model."""
    try:
        demand_announce(caller, subject, team)
    except GatewayError as error:
        if error.kind in (Kind.FORBIDDEN, Kind.NOT_FOUND):
            return False
        raise
    return True


def demand_announce(caller: Caller, subject: Subject, team: str) -> None:
    """Raises FORBIDDEN for who may not announce its end."""
    if isinstance(subject, AliasSubject):
        owned.demand_flip(caller, subject.alias, team)
    else:
        owned.demand_register(caller, subject.model, team)
