"""Routes of keys, policy and the caller's own rights."""

from litestar import Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from gateway.controlplane.access import keys, policy, questions
from gateway.controlplane.access.schemas import (
    Answer,
    ChangePolicy,
    CreatedKey,
    CreateKey,
    Explained,
    KeyList,
    PolicyView,
    PutPolicy,
    Question,
    TestPolicy,
    TestResult,
    Whoami,
)
from gateway.controlplane.change import Change
from gateway.controlplane.edge.api import IfMatch, ReasonQuery, tagged
from gateway.controlplane.edge.caller import Caller
from gateway.controlplane.edge.preconditions import Preconditions
from gateway.controlplane.plane import ControlPlane

KEYS = ["keys"]
POLICY = ["policy"]


@get("/keys", tags=KEYS, sync_to_thread=True)
def list_keys(caller: NamedDependency[Caller], control: NamedDependency[ControlPlane]) -> KeyList:
    """All keys, or the caller's own, without their secrets."""
    with control.read() as session:
        return keys.list_keys(session, caller)


@post("/keys", tags=KEYS, sync_to_thread=True)
def create_key(
    data: JSONBody[CreateKey], caller: NamedDependency[Caller], control: NamedDependency[ControlPlane]
) -> CreatedKey:
    """Make a key. Its text is in this reply and nowhere else."""

    def verb(change: Change) -> CreatedKey:
        return keys.create_key(change, caller, data, control.digest_key)

    return control.change(caller, verb)


@delete("/keys/{key_id:str}", tags=KEYS, sync_to_thread=True)
def revoke_key(
    key_id: FromPath[str],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    reason: ReasonQuery = None,
) -> None:
    """Revoke a key: refused everywhere within a second. Again: nothing happens."""

    def verb(change: Change) -> None:
        keys.revoke_key(change, caller, key_id, reason)

    control.change(caller, verb)


@get("/policy", tags=POLICY, sync_to_thread=True)
def show_policy(
    caller: NamedDependency[Caller], control: NamedDependency[ControlPlane]
) -> Response[PolicyView]:
    """All rows of the policy, with their ETag."""
    with control.read() as session:
        return tagged(policy.show_policy(session, caller))


@put("/policy", tags=POLICY, sync_to_thread=True)
def put_policy(
    data: JSONBody[PutPolicy],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    if_match: IfMatch = None,
) -> Response[PolicyView]:
    """Replace the policy as a whole."""

    def verb(change: Change) -> PolicyView:
        return policy.put_policy(change, caller, data, Preconditions(if_match))

    return tagged(control.change(caller, verb))


@post("/policy/rows", tags=POLICY, status_code=200, sync_to_thread=True)
def change_policy(
    data: JSONBody[ChangePolicy],
    caller: NamedDependency[Caller],
    control: NamedDependency[ControlPlane],
    if_match: IfMatch = None,
) -> Response[PolicyView]:
    """Add and remove rows, all or none."""

    def verb(change: Change) -> PolicyView:
        return policy.change_policy(change, caller, data, Preconditions(if_match))

    return tagged(control.change(caller, verb))


# Answered by look-ups in memory, and so also while all threads wait for a database that hangs.
@post("/policy/check", tags=POLICY, status_code=200, sync_to_thread=False)
def check_policy(data: JSONBody[Question], caller: NamedDependency[Caller]) -> Answer:
    """May somebody do something?"""
    return questions.check(caller, data)


@post("/policy/explain", tags=POLICY, status_code=200, sync_to_thread=True)
def explain_policy(
    data: JSONBody[Question], caller: NamedDependency[Caller], control: NamedDependency[ControlPlane]
) -> Explained:
    """May somebody do something, and why?"""
    return questions.explain(caller, data, control.publisher.explainer())


@post("/policy/test", tags=POLICY, status_code=200, sync_to_thread=True)
def test_policy(
    data: JSONBody[TestPolicy], caller: NamedDependency[Caller], control: NamedDependency[ControlPlane]
) -> TestResult:
    """Which of these decisions do not hold?"""
    return questions.test(caller, data, control.publisher.explainer())


@get("/whoami", tags=["whoami"], sync_to_thread=False)
def whoami(caller: NamedDependency[Caller], control: NamedDependency[ControlPlane]) -> Whoami:
    """The caller's principal, teams, roles, rights on the control plane's own resources, and where to send inference."""
    return questions.whoami(caller, control.publisher.explainer(), control.workers.inference_url())


ROUTES = [
    list_keys,
    create_key,
    revoke_key,
    show_policy,
    put_policy,
    change_policy,
    check_policy,
    explain_policy,
    test_policy,
    whoami,
]
