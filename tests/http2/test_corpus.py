"""What a fuzzer found interesting, replayed: no exception but a protocol's end, no hang, little memory, no call left alone."""

import os
import random
import sys

import pytest

from tests.http2.fuzz import changed, seeds, stored
from tests.http2.replayed import ROLES, replay, replay_bounded

pytestmark = pytest.mark.usefixtures("without_timers")


@pytest.mark.parametrize("role", ROLES)
def test_the_corpus_is_stood(role: str) -> None:
    """Each of its files, in whatever pieces."""
    found = stored(role)
    assert len(found) > 50
    for name, data in found.items():
        try:
            replay_bounded(role, data)
        except Exception as error:
            raise AssertionError(f"corpus/{role}/{name}") from error


@pytest.mark.parametrize("role", ROLES)
def test_so_are_the_cases_of_the_rfcs(role: str) -> None:
    """As a server's and as a client's."""
    for data in seeds(role):
        replay(role, data)


@pytest.mark.parametrize("role", ROLES)
def test_some_new_ones(role: str) -> None:
    """A few hundred a run, others each time but in CI; `python -m tests.http2.fuzz` tries more."""
    seed = 0 if "CI" in os.environ else random.randrange(sys.maxsize)
    chance = random.Random(seed)
    pool = [*stored(role).values(), *seeds(role)]
    for _ in range(300):
        data = changed(chance, pool)
        try:
            replay(role, data)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {data.hex()}") from error
