"""What an alias may send traffic to, checked with the snapshot's own rules before anything is written."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from gateway.controlplane import owned
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.registry import store
from gateway.errors import unprocessable
from gateway.snapshot.document import TargetEntry
from gateway.snapshot.problems import target_problems
from gateway.types import NAME


def check_alias(
    session: Session,
    caller: Caller,
    name: str,
    team: str,
    targets: Sequence[TargetEntry],
    *,
    trusted: bool = False,
) -> None:
    """Raises UNPROCESSABLE with every fault of the name and the targets.

    A model that the caller may not see is no model to them, unless the targets are `trusted`: they served before.
    """
    problems = []
    if not NAME.fullmatch(name):
        problems.append(f"alias {name!r} is not a name of 1 to 128 letters, digits, '.', '_', '-'")
    wanted = {target.model for target in targets if NAME.fullmatch(target.model)}
    rows = store.models_named(session, wanted | ({name} if NAME.fullmatch(name) else set()))
    known = {
        row.name: store.model_entry(row)
        for row in rows
        # The namesake counts even when it cannot be seen: an alias must not stand in front of it.
        if trusted or row.name == name or owned.may_see_model(caller, row)
    }
    rows_given = [(target.model, target.version, target.weight_bp) for target in targets]
    problems += target_problems(name, team, rows_given, known)
    if problems:
        raise unprocessable("The alias cannot be set", problems)
