"""Gates outlive snapshots, and go with the versions that no alias leads to any more."""

import asyncio
import time

from gateway.dataplane.concurrency.criticality import CRITICAL
from gateway.dataplane.concurrency.gates import Gates
from gateway.dataplane.worker import compile_document
from gateway.observe import metrics
from gateway.reports import SharedVersion
from gateway.settings import AdmissionSettings
from gateway.snapshot.compile import Snapshot
from gateway.snapshot.document import ModelEntry
from gateway.types import Target
from tests.dataplane.concurrency.simulated import Pace
from tests.gateway_process import alias_entry, changed, document


def snapshot(*versions: int) -> Snapshot:
    """Aliases that lead to these versions of the model `gated`, and to none other."""
    return compile_document(
        changed(
            document(),
            aliases=tuple(alias_entry(f"a{version}", ("gated", version, 10_000)) for version in versions),
            models=(ModelEntry("gated", "vision", "main", versions),),
        )
    )


def target(found: Snapshot, version: int) -> Target:
    return found.aliases[f"a{version}"].targets[0]


def shown(name: str, version: int) -> float | None:
    """A gauge's value, None where it does not stand there."""
    page = metrics.render()[0].decode()
    for line in page.splitlines():
        if line.startswith(f'{name}{{model="gated",version="{version}"}}'):
            return float(line.rpartition(" ")[2])
    return None


def test_a_gate_outlives_a_new_snapshot_and_goes_with_its_version() -> None:
    """What was learned of a version is kept while an alias leads to it; a call under way keeps even one that is gone."""

    async def story() -> None:
        gates = Gates(AdmissionSettings(), asyncio.get_running_loop(), Pace())
        both = snapshot(1, 2)
        first, second = gates.of(target(both, 1)), gates.of(target(both, 2))
        assert first is not second
        again = snapshot(1, 2)
        gates.activated(again)
        assert gates.of(target(again, 1)) is first
        share = first.enter("app:shop", CRITICAL)
        assert share is not None
        assert shown("maas_concurrency_in_flight", 1) == 1
        assert shown("maas_concurrency_limit", 1) == 64
        assert shown("maas_queue_length", 1) == 0

        gates.activated(snapshot(2))
        assert shown("maas_concurrency_in_flight", 1) == 1
        share.leave()
        gates.activated(snapshot(2))
        assert shown("maas_concurrency_in_flight", 1) is None
        assert shown("maas_concurrency_in_flight", 2) == 0
        assert gates.of(target(both, 2)) is second

    asyncio.run(story())


def test_versions_of_one_alias_have_gates_of_their_own() -> None:
    """A canary that cannot keep up does not slow the stable version down."""

    async def story() -> None:
        gates = Gates(AdmissionSettings(), asyncio.get_running_loop(), Pace())
        found = snapshot(1, 2)
        stable, canary = gates.of(target(found, 1)), gates.of(target(found, 2))
        for number in range(100):
            canary.enter(f"app:caller-{number}", CRITICAL)
        assert canary.enter("app:shop", CRITICAL) is None
        assert stable.enter("app:shop", CRITICAL) is not None

    asyncio.run(story())


def test_callers_of_other_workers_count_too() -> None:
    """One worker sees a single principal, and the control plane knows that there are two: it is not taken to be alone."""

    async def story() -> None:
        gates = Gates(AdmissionSettings(), asyncio.get_running_loop(), Pace())
        found = snapshot(1, 2)
        first, second = gates.of(target(found, 1)), gates.of(target(found, 2))
        now = time.monotonic()
        assert first.alone(now)
        gates.shared([SharedVersion("gated", 1, 200.0)])
        assert not first.alone(now)
        assert first.alone(now + 101)
        assert second.alone(now)
        gates.shared([SharedVersion("gated", 7, 1.0)])
        gates.shared([])
        assert not first.alone(now)

    asyncio.run(story())
