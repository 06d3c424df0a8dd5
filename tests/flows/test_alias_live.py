"""A team lead changes an alias, a key or a right, and within a second every caller gets what was decided."""

import json
import math
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from tests.contract.harness import Gateway, Key, Operator, maas, wait_until
from tests.flows.conftest import TEAM, Caller, Load
from tests.patience import in_time

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LIVE_WITHIN_S = 1.0
USERS = 3000
ONE_IN_A_BILLION = 6.2
"""Standard deviations of a normal distribution that a fair split leaves less than once in a billion runs."""


@pytest.fixture
def operator(embedded_gateway: Gateway, lead: Key) -> Iterator[Operator]:
    """The control plane as the lead."""
    with embedded_gateway.operator(lead.text) as operator:
        yield operator


@pytest.fixture
def admin(embedded_gateway: Gateway) -> Iterator[Operator]:
    """The control plane as the administrator."""
    with embedded_gateway.operator() as operator:
        yield operator


@pytest.fixture
def caller(embedded_gateway: Gateway, app: Key) -> Iterator[Caller]:
    with Caller(embedded_gateway.inference, app) as caller:
        yield caller


def make(operator: Operator, caller: Caller, name: str, targets: str, **fields: object) -> Any:
    """A new alias, once it is served."""
    made = operator.alias(name, targets, team=TEAM, **fields)
    wait_until(lambda: caller.infer(name).status == 200, f"{name} is served")
    return made


def serves(caller: Caller, alias: str, served_by: str) -> bool:
    return caller.infer(alias).served_by == served_by


def answers(caller: Caller, alias: str, status: int) -> bool:
    return caller.infer(alias).status == status


def shares(arms: dict[str, str]) -> Counter[str]:
    return Counter(arms.values())


def assert_fair(count: int, of: int, share: float) -> None:
    """`count` of `of` draws lies within the binomial bound of `share`."""
    limit = ONE_IN_A_BILLION * math.sqrt(of * share * (1 - share))
    assert abs(count - of * share) <= limit, (count, of, share)


def test_a_change_is_live_within_a_second(
    operator: Operator, caller: Caller, embedded_gateway: Gateway, app: Key
) -> None:
    """From the moment that the change is sent until a caller gets the new version, and never the old one again; no call
    fails meanwhile.
    """
    make(operator, caller, "flipped", "digits@1")

    def flip(wanted: str) -> float:
        began = time.monotonic()
        operator.alias("flipped", wanted.replace("/", "@"))
        wait_until(partial(serves, caller, "flipped", wanted), wanted)
        took = time.monotonic() - began
        assert {caller.infer("flipped").served_by for _ in range(5)} == {wanted}
        return took

    def to_and_fro() -> float:
        return max(flip("digits/2"), flip("digits/1"))

    with Load(embedded_gateway.inference, app, "flipped") as load:
        for _ in range(5):
            in_time(to_and_fro, LIVE_WITHIN_S)
        load.go_on(20)
    assert not load.failures
    assert {outcome.served_by for outcome in load.outcomes} == {"digits/1", "digits/2"}


def test_the_command_changes_it_as_well(
    operator: Operator, caller: Caller, embedded_gateway: Gateway, lead: Key
) -> None:
    """`maas alias set`, `history` and `rollback` do what the API does, and keep who, from what, to what and why."""
    make(operator, caller, "by-command", "digits@1", reason="it begins")
    access = {"MAAS_URL": embedded_gateway.control_url, "MAAS_KEY": lead.text}
    maas("alias", "set", "by-command", "digits@2=100%", "--reason", "all in", "--yes", **access)
    wait_until(lambda: caller.infer("by-command").served_by == "digits/2", "version 2 answers")
    newest, oldest = json.loads(maas("alias", "history", "by-command", "--json", **access))
    assert (newest["by"], newest["reason"], oldest["reason"]) == ("user:lead", "all in", "it begins")
    assert [each["version"] for each in newest["from"]] == [1]
    assert [each["version"] for each in newest["to"]] == [2]
    maas("alias", "rollback", "by-command", "--reason", "no", "--yes", **access)
    wait_until(lambda: caller.infer("by-command").served_by == "digits/1", "version 1 answers again")

    def there_and_back() -> float:
        maas("alias", "set", "by-command", "digits@2=100%", "--reason", "all in", "--yes", **access)
        there = wait_until(lambda: caller.infer("by-command").served_by == "digits/2", "version 2 answers")
        maas("alias", "rollback", "by-command", "--reason", "no", "--yes", **access)
        back = wait_until(lambda: caller.infer("by-command").served_by == "digits/1", "version 1 answers")
        return max(there, back)

    in_time(there_and_back, LIVE_WITHIN_S, tries=5)


def test_a_canary_gets_its_share_and_keeps_its_users(operator: Operator, caller: Caller) -> None:
    """10 % of the users within the binomial bound; each stays where it is; raising the weight moves nobody off; a
    rollback puts everybody back where they were.
    """
    make(operator, caller, "canary", "digits@1=9000 digits@2=1000")
    first = caller.arms("canary", USERS)
    assert_fair(shares(first)["digits/2"], USERS, 0.1)
    assert set(first.values()) == {"digits/1", "digits/2"}
    some = dict(list(first.items())[:300])
    assert caller.arms("canary", 300) == some

    raised = operator.alias("canary", "digits@1=7500 digits@2=2500")
    on_canary = next(user for user, arm in first.items() if arm == "digits/2")
    wait_until(lambda: shares(caller.arms("canary", 300)) != shares(some), "the new weight is live")
    second = caller.arms("canary", USERS)
    assert_fair(shares(second)["digits/2"], USERS, 0.25)
    assert [user for user, arm in first.items() if arm == "digits/2" and second[user] != arm] == []
    assert second[on_canary] == "digits/2"

    reply = operator.post("/aliases/canary/rollback", json={"to_revision": raised["revision"] - 1})
    assert reply.status_code == 200
    assert reply.json()["salt"] == raised["salt"]
    wait_until(lambda: caller.arms("canary", 300) == some, "the old weight is live")
    assert caller.arms("canary", 1000) == dict(list(first.items())[:1000])


def test_a_new_release_deals_its_users_anew(operator: Operator, caller: Caller) -> None:
    """Who was in one release's 50 % is in the next one's only by chance: nobody is always the guinea pig."""
    users = 600
    make(operator, caller, "releases", "digits@1=5000 digits@2=5000")
    first = caller.arms("releases", users)
    operator.alias("releases", "digits@1=5000 digits@3=5000")
    wait_until(lambda: "digits/3" in caller.arms("releases", 40).values(), "version 3 is live")
    second = caller.arms("releases", users)
    both = sum(first[user] == "digits/2" and second[user] == "digits/3" for user in first)
    assert_fair(both, users, 0.25)


def test_without_a_routing_key_the_principal_stays(
    operator: Operator, admin: Operator, caller: Caller, embedded_gateway: Gateway
) -> None:
    """A principal has one arm, by whichever of its keys it calls; an alias that is not sticky deals out each request."""
    make(operator, caller, "sticky", "digits@1=5000 digits@2=5000")
    with Caller(embedded_gateway.inference, admin.key("app:shop")) as other:
        wait_until(lambda: other.infer("sticky").status == 200, "the second key works")
        assert len({each.infer("sticky").served_by for each in (caller, other) for _ in range(20)}) == 1
    make(operator, caller, "dealt", "digits@1=5000 digits@2=5000", sticky=False)
    served = Counter(caller.infer("dealt").served_by for _ in range(600))
    assert_fair(served["digits/2"], 600, 0.5)


def test_who_may_name_a_version(
    operator: Operator, caller: Caller, embedded_gateway: Gateway, lead: Key
) -> None:
    """A caller may name a live target, and it alone answers, whatever the split says; other versions are for those who
    may pin; a version that is not registered is nobody's.
    """
    make(operator, caller, "pinned", "digits@1=9999 digits@2=1")
    key = {"Maas-Routing-Key": "user-1"}
    for version in (1, 2):
        found = {caller.infer(f"pinned/versions/{version}", headers=key).served_by for _ in range(5)}
        assert found == {f"digits/{version}"}
    assert caller.infer("pinned/versions/3").status == 404
    with Caller(embedded_gateway.inference, lead) as owner:
        assert owner.infer("pinned/versions/3").served_by == "digits/3"
        assert owner.infer("pinned/versions/9").status == 404
    operator.alias("pinned", "digits@1")
    wait_until(lambda: caller.infer("pinned/versions/2").status == 404, "version 2 is no target any more")
    assert caller.infer("pinned/versions/1").served_by == "digits/1"


def test_keys_come_and_go_within_a_second(
    operator: Operator, admin: Operator, caller: Caller, embedded_gateway: Gateway
) -> None:
    """A new key works, and a revoked one is refused, within a second, on a connection that stands as well."""
    make(operator, caller, "keyed", "digits@1")

    def come_and_go() -> float:
        key = admin.key("app:shop")
        with Caller(embedded_gateway.inference, key) as fresh:
            come = wait_until(partial(answers, fresh, "keyed", 200), "the key works")
            assert admin.delete(f"/keys/{key.id}").is_success
            gone = wait_until(partial(answers, fresh, "keyed", 401), "the key is refused")
            assert {fresh.infer("keyed").status for _ in range(5)} == {401}
        return max(come, gone)

    for _ in range(3):
        in_time(come_and_go, LIVE_WITHIN_S)


def test_rights_come_and_go_within_a_second(
    operator: Operator, admin: Operator, caller: Caller, embedded_gateway: Gateway
) -> None:
    """A role given or taken is live within a second; without one an alias is not there at all."""
    make(operator, caller, "rights", "digits@1")
    with Caller(embedded_gateway.inference, admin.key("app:newcomer")) as newcomer:
        wait_until(lambda: newcomer.infer("rights").status == 404, "the key works, and sees nothing")

        def come_and_go() -> float:
            admin.role("app:newcomer", "consumer", TEAM)
            come = wait_until(lambda: newcomer.infer("rights").status == 200, "it may call")
            role = ["app:newcomer", "role:consumer", TEAM]
            assert admin.post("/policy/rows", json={"remove": {"roles": [role]}}).is_success
            gone = wait_until(lambda: newcomer.infer("rights").status == 404, "it may not")
            return max(come, gone)

        in_time(come_and_go, LIVE_WITHIN_S)


def test_a_stale_change_changes_nothing(operator: Operator, caller: Caller) -> None:
    """Of two leads who saw the same state the second is told so (412), who names none as well (428), and who cannot add
    up (422); the alias stays as it was.
    """
    make(operator, caller, "contested", "digits@1")
    seen = operator.get("/aliases/contested").headers["ETag"]
    operator.alias("contested", "digits@2")
    wait_until(lambda: caller.infer("contested").served_by == "digits/2", "version 2 answers")
    body = {"targets": [{"model": "digits", "version": 3, "weight": 10_000}]}
    path = "/aliases/contested"
    assert operator.put(path, json=body, headers={"If-Match": seen}).status_code == 412
    assert operator.put(path, json=body).status_code == 428
    now = operator.get(path).headers["ETag"]
    short: httpx.Response = operator.put(
        path,
        json={"targets": [{"model": "digits", "version": 3, "weight": 9999}]},
        headers={"If-Match": now},
    )
    assert short.status_code == 422
    assert operator.get(path).headers["ETag"] == now
    assert {caller.infer("contested").served_by for _ in range(20)} == {"digits/2"}
