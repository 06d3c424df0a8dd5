"""Which limits bind a permitted request to its target, and under which counters."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import msgspec

from gateway.dataplane.call import Call
from gateway.dataplane.quota.fields import policy_field, standing_format
from gateway.dataplane.quota.limits import Counter, Limit, Values
from gateway.snapshot.document import QuotaEntry
from gateway.types import Field, Permit, Target

_ALWAYS_ONE = frozenset({"requests", "concurrent-requests"})

Rules = tuple[QuotaEntry, tuple[Limit, ...]]


class Bound(msgspec.Struct, frozen=True, eq=False):
    """The counters that bind the requests of one principal through one alias to one model: those that are `enforced`, and
    those of each shadow policy.

    A request takes `amounts` of the enforced ones, but for the places that `varying` names, where it has an amount of its
    own. `lasting`: some hold until a request ends; `measured`: some count bytes. `hard` names the limits that refuse while
    nobody counts for all workers together. `standing_format` is for `limit_field`.
    """

    anything: bool
    enforced: tuple[Counter, ...]
    shadows: tuple[tuple[Counter, ...], ...]
    amounts: tuple[int, ...]
    varying: tuple[int, ...]
    lasting: bool
    measured: bool
    hard: tuple[str, ...]
    policy_field: Field
    standing_format: bytes

    def unmeasured(self, call: Call) -> bool:
        """Whether the call's body has told no length: where bytes are `measured`, that matters."""
        return call.body is not None and call.body.length is None


class Binder:
    """Finds the policies that bind a request, without looking at those that name another application or alias."""

    def __init__(self, rules: Iterable[Rules]) -> None:
        self._by_name: dict[tuple[str, str], list[Rules]] = defaultdict(list)
        for policy, limits in rules:
            self._by_name[_most_telling(policy)].append((policy, limits))

    def bind(self, permit: Permit, target: Target, counter_of: Callable[[Limit, Values], Counter]) -> Bound:
        """What binds requests with this permit to this target's model."""
        enforced: list[Counter] = []
        shadows: list[tuple[Counter, ...]] = []
        for policy, limits, values in self._binding(permit, target):
            counters = tuple(counter_of(limit, values) for limit in limits)
            if policy.shadow:
                shadows.append(counters)
            else:
                enforced += counters
        units = {counter.limit.unit for counters in (enforced, *shadows) for counter in counters}
        told = [counter.limit for counter in enforced]
        return Bound(
            bool(units),
            tuple(enforced),
            tuple(shadows),
            (1,) * len(enforced),
            tuple(place for place, each in enumerate(enforced) if each.limit.unit not in _ALWAYS_ONE),
            any(counter.holds for counters in (enforced, *shadows) for counter in counters),
            "content-bytes" in units,
            tuple(counter.limit.name for counter in enforced if counter.limit.hard),
            policy_field(told),
            standing_format(told),
        )

    def _binding(
        self, permit: Permit, target: Target
    ) -> Iterator[tuple[QuotaEntry, tuple[Limit, ...], Values]]:
        alias = permit.alias
        here = (alias.team, permit.principal.id, alias.name, target.model)
        for dimension, value in (*zip(_DIMENSIONS, here, strict=True), _NO_NAME):
            for policy, limits in self._by_name.get((dimension, value), ()):
                wanted = (policy.team, policy.application, policy.alias, policy.model)
                if all(want in (None, "*", has) for want, has in zip(wanted, here, strict=True)):
                    team, application, alias_name, model = (
                        None if want is None else has for want, has in zip(wanted, here, strict=True)
                    )
                    yield policy, limits, (team, application, alias_name, model)


_DIMENSIONS = ("team", "application", "alias", "model")
_NO_NAME = ("", "")


def _most_telling(policy: QuotaEntry) -> tuple[str, str]:
    """The name under which a policy is looked up."""
    for dimension in ("application", "alias", "model", "team"):
        value: str | None = getattr(policy, dimension)
        if value is not None and value != "*":
            return dimension, value
    return _NO_NAME
