"""What workers report of usage is counted once, whatever is sent again."""

import time
from typing import Any

import pytest
from sqlalchemy import select

from gateway.db.models import UsageRow
from tests.controlplane.harness import Running

ROW: dict[str, Any] = {
    "principal": "app:storefront",
    "model": "digits",
    "version": 1,
    "requests": 3,
    "failed": 1,
}


def send(plane: Running, worker: str, number: int, *rows: dict[str, Any], started_at: float = 1.0) -> int:
    """The status of one report; whether there is something to tell the worker (200) or not (204) is all the same."""
    body = {"host": "h", "pid": 1, "role": "data", "snapshot_version": 1, "started_at": started_at}
    body["usage"] = {"number": number, "rows": list(rows)}
    reply = plane.worker.post(f"/api/v1/workers/{worker}/report", json=body)
    return 204 if reply.is_success else reply.status_code


def counted(plane: Running, alias: str) -> list[tuple[int, int, float]]:
    """Requests, failures and last call of each of the alias's rows."""
    with plane.control.read() as session:
        rows = session.scalars(select(UsageRow).where(UsageRow.alias == alias).order_by(UsageRow.day))
        return [(row.requests, row.failed, row.last_at.timestamp()) for row in rows]


def test_a_batch_that_is_sent_again_counts_once(plane: Running) -> None:
    """The reply to a report may be lost; the worker then sends the same batch under the same number."""
    alias, now = plane.fresh("used"), float(int(time.time()))
    row = ROW | {"alias": alias, "last_at": now}
    assert [send(plane, "w1", number, row) for number in (1, 1, 2)] == [204, 204, 204]
    assert counted(plane, alias) == [(6, 2, now)]


def test_a_batch_counts_once_also_after_the_worker_has_ended(plane: Running) -> None:
    """Another worker sends what an ended one could not: the batch whose answer was lost is known by then, a later one is not."""
    alias, now = plane.fresh("used"), float(int(time.time()))
    row = ROW | {"alias": alias, "last_at": now}
    assert send(plane, "w-ended", 1, row) == 204
    for number in (1, 2):
        assert plane.worker.delete("/api/v1/workers/w-ended").status_code == 204
        assert send(plane, "w-ended", number, row) == 204
    assert plane.worker.delete("/api/v1/workers/w-ended").status_code == 204
    assert counted(plane, alias) == [(6, 2, now)]


def test_workers_and_their_successors_add_up(plane: Running) -> None:
    """Batches of two workers, and of a new process under an old name, all count; the latest call stays the last one."""
    alias, now = plane.fresh("used"), float(int(time.time()))
    for worker, started_at, last_at in (("w2", 1.0, now - 5), ("w3", 1.0, now), ("w2", 2.0, now - 9)):
        assert (
            send(plane, worker, 1, ROW | {"alias": alias, "last_at": last_at}, started_at=started_at) == 204
        )
    assert counted(plane, alias) == [(9, 3, now)]


def test_days_are_kept_apart_and_nobody_calls_tomorrow(plane: Running) -> None:
    """A late batch counts on its own day; a clock that is ahead counts today."""
    alias, now = plane.fresh("used"), float(int(time.time()))
    rows = [ROW | {"alias": alias, "last_at": at} for at in (now - 2 * 86_400, now + 2 * 86_400)]
    assert send(plane, "w4", 1, *rows) == 204
    (_, _, early), (_, _, late) = counted(plane, alias)
    assert early == now - 2 * 86_400
    assert late <= time.time()


def test_a_bad_batch_changes_nothing(plane: Running) -> None:
    """Negative counts, names that are none, numbers beyond all bounds: refused whole."""
    alias = plane.fresh("used")
    good = ROW | {"alias": alias, "last_at": time.time()}
    for bad in (
        {"requests": -1},
        {"principal": "app:a\n"},
        {"version": 0},
        {"tokens": 2**63},
        {"last_at": None},
    ):
        assert send(plane, "w5", 1, good, good | bad) == 422, bad
    assert counted(plane, alias) == []


def test_workers_are_told_which_versions_have_several_callers(plane: Running) -> None:
    """One worker sees one principal, another worker another one: both learn that neither is alone, and since when."""
    alias, model = plane.fresh("shared"), plane.fresh("model")
    row = ROW | {"alias": alias, "model": model, "last_at": time.time()}

    def answer(worker: str, number: int, **fields: Any) -> list[dict[str, Any]]:
        body = {"host": "h", "pid": 1, "role": "data", "snapshot_version": 1, "started_at": 1.0}
        body["usage"] = {"number": number, "rows": [row | fields]}
        reply = plane.worker.post(f"/api/v1/workers/{worker}/report", json=body)
        shared = reply.json()["shared_versions"] if reply.content else []
        return [each for each in shared if each["model"] == model]

    assert answer("w-one", 1) == []
    assert answer("w-one", 2) == []
    (told,) = answer("w-other", 1, principal="app:another")
    assert (told["model"], told["version"]) == (model, 1)
    assert 0 <= told["ago_s"] < 60
    (again,) = answer("w-one", 3)
    assert again["ago_s"] < 60
    assert answer("w-one", 4, version=2) == [again | {"ago_s": pytest.approx(again["ago_s"], abs=60)}]
