"""The table of open sequences: what one worker keeps the others find, each tenant in its own room, and nothing for ever."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.supervisor.pins import PLACES, Busy, Pin, PinTable, shelves_for

TENANTS = [bytes([number]) * 8 for number in (1, 2, 3)]
# Some keys hold the beginning of others, so that none is found between two places.
KEYS = [bytes([number]) * 16 for number in range(1, 5)] + [bytes([1]) * 8 + bytes([2]) * 8]


def pin(life: int, version: int = 1) -> Pin:
    return Pin(life, "model", version, b"endpoint")


class Clock:
    """Time that a test sets."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Tables(RuleBasedStateMachine):
    """Two workers' views of one table, beside a dictionary that does the same."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        first = PinTable.create(2 * PLACES, self.clock)
        self.views = [first, PinTable(os.dup(first.fd), self.clock)]
        self.known: dict[tuple[bytes, bytes], tuple[Pin, float]] = {}
        self.shelves: dict[bytes, float] = {}
        self.lives = 0

    def teardown(self) -> None:
        for view in self.views:
            os.close(view.fd)

    @rule(
        view=st.integers(0, 1),
        tenant=st.sampled_from(TENANTS),
        key=st.sampled_from(KEYS),
        s=st.integers(1, 9),
    )
    def keep(self, view: int, tenant: bytes, key: bytes, s: int) -> None:
        """A sequence begins, perhaps anew: its tenant has one shelf at most, and there are two."""
        self.lives += 1
        full = self.views[view].keep(tenant, key, pin(self.lives), s, 1)
        others = [who for who, until in self.shelves.items() if who != tenant and until > self.clock.now_s]
        if (tenant, key) in self.open() or len(others) < 2:
            assert full is None
        if full is None:
            self.note(tenant, key, pin(self.lives), s)
        else:
            assert full == "table"

    @rule(
        view=st.integers(0, 1),
        tenant=st.sampled_from(TENANTS),
        key=st.sampled_from(KEYS),
        before=st.integers(0, 1),
        s=st.integers(1, 9),
    )
    def extend(self, view: int, tenant: bytes, key: bytes, before: int, s: int) -> None:
        """It goes on; who means the one before it under this key changes nothing."""
        found = self.open().get((tenant, key))
        if found is not None:
            self.views[view].extend(tenant, key, found.life - before, s)
            if not before:
                self.note(tenant, key, found, s)

    @rule(
        view=st.integers(0, 1),
        tenant=st.sampled_from(TENANTS),
        key=st.sampled_from(KEYS),
        before=st.integers(0, 1),
    )
    def drop(self, view: int, tenant: bytes, key: bytes, before: int) -> None:
        """It ends; who means the one before it ends nothing."""
        found = self.open().get((tenant, key))
        if found is not None:
            self.views[view].drop(tenant, key, found.life - before)
            if not before:
                del self.known[tenant, key]

    @rule(s=st.integers(0, 10))
    def wait(self, s: int) -> None:
        """Time passes, and what is left alone lapses."""
        self.clock.now_s += s

    @invariant()
    def both_see_the_same(self) -> None:
        """Whoever kept it."""
        expected = self.open()
        for view in self.views:
            found = {
                (tenant, key): pinned
                for tenant in TENANTS
                for key in KEYS
                if (pinned := view.find(tenant, key)) is not None
            }
            assert found == expected
            assert view.open() == len(expected)

    def note(self, tenant: bytes, key: bytes, kept: Pin, s: int) -> None:
        """It is kept for so long, and its tenant's shelf at least."""
        until = self.clock.now_s + s
        self.known[tenant, key] = (kept, until)
        self.shelves[tenant] = max(until, self.shelves.get(tenant, 0.0))

    def open(self) -> dict[tuple[bytes, bytes], Pin]:
        """What has not lapsed."""
        return {name: each for name, (each, until) in self.known.items() if until > self.clock.now_s}


TestTables = Tables.TestCase
TestTables.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def many(table: PinTable, tenant: bytes, count: int, most_shelves: int) -> list[str | None]:
    """What becomes of so many new sequences."""
    return [table.keep(tenant, os.urandom(16), pin(1), 60, most_shelves) for _ in range(count)]


def test_a_tenant_that_fills_its_room_takes_nobody_elses() -> None:
    """It is told that its own is full; once the table is, whoever has nothing there is told that."""
    table = PinTable.create(4 * PLACES)
    assert many(table, TENANTS[0], 2 * PLACES + 1, 2) == [None] * (2 * PLACES) + ["principal"]
    assert many(table, TENANTS[1], 2 * PLACES, 2) == [None] * (2 * PLACES)
    assert many(table, TENANTS[2], 1, 2) == ["table"]
    assert table.open() == 4 * PLACES


def test_a_room_is_free_again_once_all_in_it_has_lapsed() -> None:
    """For its tenant, and for another one."""
    clock = Clock()
    table = PinTable.create(PLACES, clock)
    many(table, TENANTS[0], PLACES, 1)
    assert many(table, TENANTS[1], 1, 1) == ["table"]
    clock.now_s += 60
    assert table.open() == 0
    assert many(table, TENANTS[0], 1, 1) == [None]
    clock.now_s += 60
    assert many(table, TENANTS[1], PLACES, 1) == [None] * PLACES


def test_a_room_is_free_again_once_all_in_it_have_ended() -> None:
    """Another tenant need not wait until they would have lapsed."""
    table = PinTable.create(PLACES)
    for key in KEYS:
        table.keep(TENANTS[0], key, pin(1), 60, 1)
    for key in KEYS:
        assert many(table, TENANTS[1], 1, 1) == ["table"]
        table.drop(TENANTS[0], key, 1)
    assert many(table, TENANTS[1], 1, 1) == [None]


def test_shelves_hold_what_was_asked_for() -> None:
    """At least."""
    assert [shelves_for(most) for most in (1, PLACES, PLACES + 1)] == [1, 1, 2]


def test_a_long_name_of_a_model_fits() -> None:
    """128 letters are the most that one has."""
    table = PinTable.create(1)
    long = Pin(2**64 - 1, "m" * 128, 2**63 - 1, b"endpoint")
    table.keep(TENANTS[0], KEYS[0], long, 60, 1)
    assert table.find(TENANTS[0], KEYS[0]) == long


def held(fd: int, how: str) -> "subprocess.Popen[bytes]":
    """Another process that holds the table's lock, and then does what is said."""
    program = f"import fcntl, os, sys, time; fcntl.lockf({fd}, fcntl.LOCK_EX); print(flush=True); {how}"
    process = subprocess.Popen([sys.executable, "-c", program], pass_fds=[fd], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


VERBS: list[Callable[[PinTable], object]] = [
    lambda table: table.find(TENANTS[0], KEYS[0]),
    lambda table: table.keep(TENANTS[0], KEYS[0], pin(1), 1, 1),
    lambda table: table.extend(TENANTS[0], KEYS[0], 1, 1),
    lambda table: table.drop(TENANTS[0], KEYS[0], 1),
]


def test_nobody_waits_for_a_worker_that_has_been_stopped() -> None:
    """Who finds the table locked is told so at once; once its holder is killed, all is as it was."""
    table = PinTable.create(PLACES)
    table.keep(TENANTS[0], KEYS[0], pin(7), 60, 1)
    process = held(table.fd, "time.sleep(600)")
    for verb in VERBS:
        with pytest.raises(Busy):
            verb(table)
    process.kill()
    process.wait()
    assert table.find(TENANTS[0], KEYS[0]) == pin(7)
    fcntl.lockf(table.fd, fcntl.LOCK_UN)
