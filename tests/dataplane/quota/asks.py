"""Quotas without a gateway around them: a clock that a test turns, and calls of one application on one alias."""

from typing import Any, cast

import http_sf

from gateway.dataplane.call import Call, Credentials, Trail
from gateway.dataplane.quota.quotas import Quotas
from gateway.dataplane.quota.taken import Taken
from gateway.errors import GatewayError
from gateway.snapshot.compile import Snapshot
from gateway.snapshot.document import LimitEntry, QuotaEntry
from gateway.types import OPERATIONS, Alias, Permit, Principal, Target
from gateway.upstream.exchange import Body


def policy(*limits: LimitEntry, name: str = "p", **fields: object) -> QuotaEntry:
    """A policy."""
    return QuotaEntry(name, limits, **fields)  # type: ignore[arg-type]


def snapshot(*policies: QuotaEntry) -> Snapshot:
    """A snapshot of nothing but quota policies."""
    return Snapshot(1, 0.0, "i", {}, {}, {}, lambda *_: True, policies)


def call(operation: str = "infer", body: Body | None = None) -> Call:
    """A call."""
    return Call(
        "http", OPERATIONS[operation], "a", None, Credentials(None, b"x", 1), None, "id", b"", b"", body,
        None, b"", None, None, None, Trail(0.0),  # type: ignore[arg-type]
    )  # fmt: skip


class Text:
    """A body that has arrived, or as much of it as a test says."""

    complete = True

    def __init__(
        self, text: bytes | None = b"", length: int | None = None, received: int | None = None
    ) -> None:
        self._text = text
        self.length = length
        self.received = len(text or b"") if received is None else received

    def text(self) -> bytes | None:
        """Its JSON part."""
        return self._text


class Asks:
    """One worker's quotas, asked by applications through aliases. `now` is its clock."""

    def __init__(self, *policies: QuotaEntry, workers: int = 1, now: float = 1_000_000.0) -> None:
        self.now = now
        self.quotas = Quotas(workers)
        self.quotas.activate(snapshot(*policies), now)
        self._permits: dict[tuple[str, str, str], Permit] = {}

    def change(self, *policies: QuotaEntry) -> None:
        """Another snapshot."""
        self._permits.clear()
        self.quotas.activate(snapshot(*policies), self.now)

    def permit(self, application: str = "app:x", alias: str = "a", team: str = "t") -> Permit:
        """The permit, the same one until the snapshot changes."""
        key = (application, alias, team)
        if key not in self._permits:
            known = Alias(alias, team, b"", True, (), (), (), {}, {})
            self._permits[key] = Permit(Principal(application, "k"), known, "infer", False)
        return self._permits[key]

    def take(self, asked: Call | None = None, model: str = "m", **who: Any) -> Taken | None:
        """What one call of `application` through `alias` of `team` takes. Raises the refusal."""
        target = Target(model, 1, 10_000, "stable", "main", b"", b"")
        taken = self.quotas.take(self.permit(**who), target, asked or call(), self.now)
        assert taken is None or isinstance(taken, Taken)
        return taken

    def refusal(self, asked: Call | None = None, **who: Any) -> GatewayError | None:
        """Why one call is refused; None when it is not."""
        asked = asked or call()
        try:
            self.take(asked, **who)
        except GatewayError as error:
            # As the pipeline does.
            asked.trail.fields += error.fields
            return error
        return None

    def burst(self, most: int = 10_000, **who: Any) -> int:
        """How many calls are admitted at once, in a row."""
        count = 0
        while count < most and self.refusal(**who) is None:
            count += 1
        return count


def items(value: str) -> dict[str, dict[str, Any]]:
    """The items of a field by name, with their parameters, as the structured-fields library reads them."""
    return dict(cast(Any, http_sf.parse(value.encode(), tltype="list")))


def told(asked: Call, name: bytes) -> dict[str, dict[str, Any]]:
    """The items of a RateLimit field of the call's reply, as the structured-fields library reads them."""
    values = [value for field, value in asked.trail.fields if field == name]
    assert len(values) <= 1
    return items(values[0].decode()) if values else {}
