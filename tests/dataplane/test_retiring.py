"""What is told of a retirement, moment by moment, under a clock that the tests move."""

import asyncio
import time
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.dataplane import announce, pipeline
from gateway.dataplane.announce import BROWNOUT, RETIRED, retired
from gateway.dataplane.call import Call, Credentials, Trail
from gateway.dataplane.plane import Plane
from gateway.dataplane.record import Recorder
from gateway.errors import GatewayError, Kind
from gateway.observe.logs import AccessLog
from gateway.observe.trace_context import NO_TRACE
from gateway.policy.rows import decider
from gateway.secret import KEY_PURPOSE, derive
from gateway.settings import Inference, Upstream
from gateway.snapshot.compile import compile_snapshot
from gateway.snapshot.deprecation import compile_deprecation, is_off, spell_at
from gateway.snapshot.document import DeprecationEntry, SnapshotDocument, VersionDeprecation
from gateway.types import OPERATIONS
from gateway.upstream.pools import Pools
from tests.gateway_process import APP, PINNER, READER, SECRET, STRANGER, document

DAY = 86_400.0
START = 1_800_000_000.0
SUNSET = START + 90 * DAY
SPELLS = ((START + DAY, START + DAY + 600), (START + 2 * DAY, START + 2 * DAY + 600))


def entry(**fields: Any) -> DeprecationEntry:
    """An announcement with a successor, and the fields of the test."""
    return replace(DeprecationEntry(START, SUNSET, "next"), **fields)


def told(announced: DeprecationEntry, now: float) -> GatewayError | None:
    """What is answered instead of a reply."""
    compiled = compile_deprecation(announced)
    return retired(compiled, "Alias old", {"alias": "old"}, now) if is_off(compiled, now) else None


@pytest.mark.parametrize(
    ("announced", "now", "problem"),
    [
        (entry(after_sunset="gone"), SUNSET - 0.001, None),
        (entry(after_sunset="gone"), SUNSET, RETIRED),
        (entry(after_sunset="gone"), SUNSET + 900 * DAY, RETIRED),
        (entry(), SUNSET + 900 * DAY, None),
        (entry(brownouts=SPELLS), START + DAY - 0.001, None),
        (entry(brownouts=SPELLS), START + DAY, BROWNOUT),
        (entry(brownouts=SPELLS), START + DAY + 599.9, BROWNOUT),
        (entry(brownouts=SPELLS), START + DAY + 600, None),
        (entry(brownouts=SPELLS), START + 2 * DAY + 1, BROWNOUT),
        (entry(brownouts=SPELLS), 0.0, None),
    ],
)
def test_the_end_comes_at_its_moment(announced: DeprecationEntry, now: float, problem: str | None) -> None:
    """A spell holds from its start up to its end, the sunset from its moment on, and only where it says so."""
    error = told(announced, now)
    assert (error and error.type_uri) == problem
    assert error is None or (error.kind is Kind.GONE and error.members["successor"] == "next")


def test_a_brownout_says_when_it_is_over() -> None:
    """Retry-After is the spell's end, across spells that follow one another at once."""
    spells = ((START, START + 60), (START + 60, START + 100))
    error = told(entry(brownouts=spells), START + 30)
    assert error is not None
    assert error.retry_after_s == 70
    assert error.members["until"] == "2027-01-15T08:01:40Z"
    assert "call next instead" in error.detail


def test_a_brownout_that_lasts_until_the_end_asks_nobody_to_come_back() -> None:
    """After it comes the sunset, so there is no earliest useful retry."""
    error = told(entry(after_sunset="gone", brownouts=((SUNSET - 60, SUNSET),)), SUNSET - 5)
    assert error is not None
    assert error.retry_after_s is None


def test_a_clock_that_jumps_leaves_nothing_behind() -> None:
    """An hour ahead the spell comes an hour early; put right, the same alias serves again."""
    announced = entry(after_sunset="gone", brownouts=SPELLS)
    assert told(announced, START + DAY - 3600) is None
    assert told(announced, START + DAY) is not None
    assert told(announced, START + DAY - 3600) is None
    assert told(announced, SUNSET + 1) is not None
    assert told(announced, SUNSET - 1) is None


def test_many_spells_are_found_by_their_moment() -> None:
    """Each one, and never the hour between two of them."""
    spells = tuple((START + hour * 3600, START + hour * 3600 + 60) for hour in range(100))
    compiled = compile_deprecation(entry(brownouts=spells[::-1]))
    assert all(spell_at(compiled, start + 59) == (start, end) for start, end in spells)
    assert not any(spell_at(compiled, end) for _, end in spells)


# --- through the pipeline ---

OLD = entry(info_url="https://wiki.example/old", brownouts=SPELLS, after_sunset="gone")
VERSION = DeprecationEntry(START - DAY, SUNSET + DAY, "a")


def retiring() -> SnapshotDocument:
    """Alias `old` retires, alias `a` with the same version does not, and version 1 of the model retires too."""
    found = document()
    old = replace(found.aliases[0], name="old", deprecation=OLD)
    model = replace(found.models[0], deprecations=(VersionDeprecation(1, VERSION),))
    return replace(found, aliases=(*found.aliases, old), models=(model,))


async def answers(*wanted: tuple[str, str, int | None]) -> list[tuple[str, dict[bytes, bytes]]]:
    """For each (key, alias, version): what became of the call, and the fields that are told with it."""
    digest_key = derive(SECRET.encode(), KEY_PURPOSE)
    plane = Plane(Inference(), digest_key, Pools(Upstream()), Recorder(AccessLog("-")))
    plane.activate(compile_snapshot(retiring(), decider))
    found = []
    for key, alias, version in wanted:
        trail = Trail(time.monotonic())
        call = Call(
            "http", OPERATIONS["infer"], alias, version, Credentials(None, key.encode(), 1), None, "id", b"", b"",
            None, None, NO_TRACE, None, None, None, trail,  # type: ignore[arg-type]
        )  # fmt: skip
        try:
            await pipeline.serve(call, plane)
            outcome = "served"
        except GatewayError as error:
            outcome = error.kind.value
        assert len({name for name, _ in trail.fields}) == len(trail.fields), trail.fields
        found.append((outcome, dict(trail.fields)))
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the wall clock of the step that announces; what would be forwarded counts as served."""

    async def forward(*_: object) -> None:
        """Served."""

    monkeypatch.setattr(pipeline, "forward", forward)
    return lambda now: monkeypatch.setattr(announce, "wall_clock", lambda: now)


def test_a_moved_clock_brings_brownout_and_sunset(clock: Any) -> None:
    """The same snapshot serves, is switched off, serves again, and ends."""
    outcomes = []
    for now in (START, START + DAY + 1, START + DAY + 601, SUNSET + 1):
        clock(now)
        [(outcome, fields)] = asyncio.run(answers((APP, "old", None)))
        assert set(fields) == {b"Deprecation", b"Sunset", b"Link"}
        outcomes.append(outcome)
    assert outcomes == ["served", "gone", "served", "gone"]


def test_only_who_may_see_the_alias_hears_of_its_end(clock: Any) -> None:
    """Refused callers who may see it are told; to others it is as any alias that does not exist."""
    clock(START)
    (reader, hears), (stranger, nothing), (pinned, hears_too) = asyncio.run(
        answers((READER, "old", None), (STRANGER, "old", None), (APP, "old", 2))
    )
    assert (reader, stranger, pinned) == ("forbidden", "not_found", "not_found")
    assert hears == hears_too != {}
    assert nothing == {}


def test_a_version_retires_for_those_alone_who_name_it(clock: Any) -> None:
    """Not for an alias that follows it by its weights; beside an alias's own end each field stands once."""
    clock(START)
    (_, unpinned), (_, pinned), (_, both) = asyncio.run(
        answers((PINNER, "a", None), (PINNER, "a", 1), (PINNER, "old", 1))
    )
    assert unpinned == {}
    assert pinned[b"Deprecation"] == b"@%d" % (START - DAY)
    assert both[b"Deprecation"] == b"@%d" % (START - DAY)
    assert both[b"Sunset"] == dict(compile_deprecation(OLD).fields)[b"Sunset"]
    assert [name in both[b"Link"] for name in (b"/v2/models/next>", b"/v2/models/a>")] == [True, True]
