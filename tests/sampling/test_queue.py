"""The queue is bounded, in order, and counts what it drops."""

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from gateway.sampling.queue import Batch, Bounds, SampleQueue
from gateway.sampling.row import SampleRow
from tests.sampling.kept import BOUNDS, counted, row


def ids(batch: Batch | None) -> list[str]:
    """The request ids of a batch."""
    return [] if batch is None else [each.request_id for each in batch.rows]


def test_rows_wait_by_alias_version_and_day() -> None:
    """Each partition becomes files of its own, of the day on which the request came (UTC)."""
    queue = SampleQueue(BOUNDS)
    at = 1_795_478_400.0
    queue.put(row("1", at=at - 1))
    queue.put(row("2", at=at))
    queue.put(row("3", at=at, version=1))
    queue.put(row("4", at=at, alias="b"))
    assert [partition.path for partition in queue.due()] == [
        "alias=a/version=2/date=2026-11-23",
        "alias=a/version=2/date=2026-11-24",
        "alias=a/version=1/date=2026-11-24",
        "alias=b/version=2/date=2026-11-24",
    ]


@pytest.mark.parametrize(
    "bounds", [Bounds(2, 10**9, 50, 0.0), Bounds(10**9, 2 * row().size_bytes(), 50, 0.0)]
)
def test_a_full_queue_drops_and_counts(bounds: Bounds) -> None:
    """In rows or in bytes, by the reason that the writer gives."""
    queue = SampleQueue(bounds, lambda: "sink_disk_full")
    dropped = counted("maas_samples_dropped_total", reason="sink_disk_full")
    assert queue.put(row("1"))
    assert queue.put(row("2"))
    assert not queue.put(row("3"))
    assert dropped() == 1
    batch = queue.take(queue.due()[0])
    assert ids(batch) == ["1", "2"]
    # What is being written still takes its room.
    assert not queue.put(row("4"))
    assert batch is not None
    queue.done(batch)
    assert queue.put(row("5"))


def test_rows_are_due_when_they_are_enough_or_old_or_the_queue_is_half_full() -> None:
    """Otherwise they wait for others, so that files are not tiny."""
    patient = msgspec.structs.replace(BOUNDS, file_rows=3, file_s=3600.0)
    queue = SampleQueue(patient)
    queue.put(row("1"))
    assert queue.due() == []
    assert queue.due(everything=True) != []
    queue.put(row("2"))
    queue.put(row("3"))
    assert queue.due() != []
    crowded = SampleQueue(msgspec.structs.replace(patient, rows=3))
    crowded.put(row("1"))
    assert crowded.due() == []
    crowded.put(row("2"))
    assert crowded.due() != []


def test_what_could_not_be_written_goes_first() -> None:
    """Rows that are put back keep their place before those that came meanwhile, and their age."""
    queue = SampleQueue(msgspec.structs.replace(BOUNDS, file_rows=2))
    for name in "123":
        queue.put(row(name))
    batch = queue.take(queue.due()[0])
    assert ids(batch) == ["1", "2"]
    queue.put(row("4"))
    assert batch is not None
    queue.put_back(batch)
    partition = queue.due()[0]
    assert ids(queue.take(partition)) == ["1", "2"]
    assert ids(queue.take(partition)) == ["3", "4"]
    assert queue.measure()[0] == 4


def test_subjects_are_forgotten_up_to_their_moment() -> None:
    """By whom the request was for, and by who called; what came later stays."""
    queue = SampleQueue(BOUNDS)
    queue.put(row("1", subject="s", at=100.0))
    queue.put(row("2", principal="s", at=100.0))
    queue.put(row("3", subject="s", at=101.0))
    queue.put(row("4", at=100.0))
    queue.forget({"s": 100.0})
    assert ids(queue.take(queue.due()[0])) == ["3", "4"]


def test_what_is_given_up_is_counted() -> None:
    """At the end of the process, whatever could not be written."""
    queue = SampleQueue(BOUNDS)
    dropped = counted("maas_samples_dropped_total", reason="shutdown")
    queue.put(row("1"))
    queue.put(row("2", version=1))
    queue.drop_all("shutdown")
    assert (dropped(), queue.measure()) == (2, (0, 0, 0.0))


class Model(RuleBasedStateMachine):
    """Whatever happens, rows and bytes that wait are those that were put and neither written nor dropped, within bounds."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = SampleQueue(Bounds(8, 20_000, 3, 0.0))
        self.waiting: list[SampleRow] = []
        self.taken: list[Batch] = []
        self.number = 0

    @rule(version=st.integers(1, 3), subject=st.sampled_from("xy"), size=st.integers(0, 5_000))
    def put(self, version: int, subject: str, size: int) -> None:
        """A row comes."""
        self.number += 1
        fresh = row(str(self.number), version=version, subject=subject, request_json="x" * size)
        if self.queue.put(fresh):
            self.waiting.append(fresh)

    @rule(version=st.integers(1, 3))
    def take(self, version: int) -> None:
        """The writer takes a batch."""
        partition = next((each for each in self.queue.due() if each.version == version), None)
        batch = None if partition is None else self.queue.take(partition)
        if batch is not None:
            assert 0 < len(batch.rows) <= 3
            self.taken.append(batch)

    @rule(written=st.booleans())
    def settle(self, written: bool) -> None:
        """It writes one, or cannot."""
        if self.taken:
            batch = self.taken.pop()
            if written:
                self.queue.done(batch)
                gone = set(ids(batch))
                self.waiting = [each for each in self.waiting if each.request_id not in gone]
            else:
                self.queue.put_back(batch)

    @rule(subject=st.sampled_from("xy"))
    def forget(self, subject: str) -> None:
        """A subject is to be forgotten."""
        self.queue.forget({subject: 2e9})
        held = {each.request_id for batch in self.taken for each in batch.rows}
        self.waiting = [each for each in self.waiting if each.subject != subject or each.request_id in held]

    @invariant()
    def counts_hold(self) -> None:
        """The counts are those of what waits."""
        rows, size_bytes, _ = self.queue.measure()
        assert rows == len(self.waiting) <= 8
        assert size_bytes == sum(each.size_bytes() for each in self.waiting) <= 20_000


def test_the_counts_hold_whatever_happens() -> None:
    """Puts, files, faults and deletions in any order."""
    run_state_machine_as_test(Model, settings=settings(max_examples=60, deadline=None, derandomize=True))
