"""A quota from the moment it is set to the moment it is gone, over a running gateway."""

from collections.abc import Iterator

import pytest

from tests.contract.harness import Gateway, Key, Operator, wait_until
from tests.flows.conftest import TEAM, Caller

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def admin(embedded_gateway: Gateway) -> Iterator[Operator]:
    """The control plane as the administrator."""
    with embedded_gateway.operator() as operator:
        yield operator


def limit(quota: int) -> dict[str, object]:
    """So many requests a day."""
    return {"alias": "rationed", "limits": [{"name": "day", "quota": quota, "window_s": 86_400}]}


def test_a_quota_binds_once_it_is_set_and_outlives_other_changes(
    admin: Operator, embedded_gateway: Gateway, app: Key
) -> None:
    """Set, it binds; another change of the configuration leaves its count alone; raised, it lets in the difference;
    deleted, it binds nobody.
    """
    admin.alias("rationed", "digits@1", team=TEAM)
    with Caller(embedded_gateway.inference, app) as caller:
        wait_until(lambda: caller.infer("rationed").status == 200, "the alias is served")
        assert admin.set("/quotas/rationed", limit(5)).is_success
        statuses: list[int] = []

        def refused() -> bool:
            statuses.append(caller.infer("rationed").status)
            return statuses[-1] == 429

        wait_until(refused, "the quota binds")
        assert statuses.count(200) >= 5
        admin.alias("rationed", "digits@2")
        admin.alias("another", "digits@1", team=TEAM)
        wait_until(lambda: caller.infer("another").status == 200, "the change is live")
        assert caller.infer("rationed").status == 429
        assert admin.set("/quotas/rationed", limit(8)).is_success
        wait_until(lambda: caller.infer("rationed").status == 200, "three more")
        assert [caller.infer("rationed").status for _ in range(4)] == [200, 200, 429, 429]
        assert admin.delete("/quotas/rationed", params={"reason": "over"}).is_success
        wait_until(lambda: caller.infer("rationed").status == 200, "nothing binds")
        assert [caller.infer("rationed").status for _ in range(10)] == [200] * 10
