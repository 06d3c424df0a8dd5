"""Who called what, as a worker counts it."""

from gateway.dataplane.call import Call, Credentials, Trail
from gateway.dataplane.usage import UsageBook
from gateway.reports import MOST_USAGE_ROWS
from gateway.types import OPERATIONS, Principal, Target


def call(principal: str, alias: str, version: int | None = None) -> Call:
    """One call."""
    trail = Trail(0.0, Principal(principal, "k"))
    return Call(
        "http", OPERATIONS["infer"], alias, version, Credentials(None, b"x", 1), None, "id", b"", b"", None,
        None, b"", None, None, None, trail,  # type: ignore[arg-type]
    )  # fmt: skip


TARGET = Target("m", 1, 10_000, "stable", "main", b"", b"m/1")


def test_calls_are_told_apart_and_added_up() -> None:
    """By principal, alias, version and day; a refusal by a quota is no request."""
    book = UsageBook()
    calls = (("ok", 200, None), ("ok", 200, 1), ("internal", 500, None), ("quota_exceeded", 429, None))
    for outcome, status, version in calls:
        book.count(call("app:a", "x", version), TARGET, outcome, status, 1000.0)
    book.count(call("app:b", "x"), TARGET, "ok", 200, 1000.0)
    book.count(call("app:b", "x"), TARGET, "ok", 200, 100_000.0)
    rows = [(row.principal, row.requests, row.failed, row.limited, row.pinned) for row in book.batch().rows]
    assert rows == [("app:a", 3, 1, 1, 1), ("app:b", 1, 0, 0, 0), ("app:b", 1, 0, 0, 0)]


def test_a_models_own_refusals_are_requests() -> None:
    """A server that says 429 or 410 itself was called: no quota of the gateway's refused that, nothing is retired."""
    book = UsageBook()
    for status in (429, 410):
        book.count(call("app:a", "x"), TARGET, "model_refused", status, 1000.0)
    (row,) = book.batch().rows
    assert (row.requests, row.limited, row.gone) == (2, 0, 0)


def test_what_was_not_confirmed_is_sent_again_unchanged() -> None:
    """And what came meanwhile goes with the next batch, under the next number."""
    book = UsageBook()
    book.count(call("app:a", "x"), TARGET, "ok", 200, 1000.0)
    first = book.batch()
    book.count(call("app:a", "x"), TARGET, "ok", 200, 1000.0)
    assert book.batch() is first
    book.confirm()
    second = book.batch()
    assert (first.number, second.number) == (1, 2)
    assert [row.requests for row in first.rows + second.rows] == [1, 1]


def test_an_empty_batch_has_no_number_of_its_own() -> None:
    """Nothing to count is nothing to remember."""
    book = UsageBook()
    assert (book.batch().number, book.batch().rows) == (0, [])


def test_a_batch_is_bounded() -> None:
    """After hours without a control plane everything is reported, in several batches."""
    book = UsageBook()
    for number in range(MOST_USAGE_ROWS + 1):
        book.count(call(f"app:{number}", "x"), TARGET, "ok", 200, 1000.0)
    assert len(book.batch().rows) == MOST_USAGE_ROWS
    book.confirm()
    assert len(book.batch().rows) == 1


def test_what_a_worker_leaves_is_all_that_was_not_confirmed() -> None:
    """The batch that may have arrived keeps its number, and nothing is left behind or told twice."""
    book = UsageBook()
    for number in range(MOST_USAGE_ROWS + 1):
        book.count(call(f"app:{number}", "x"), TARGET, "ok", 200, 1000.0)
    sent = book.batch()
    book.count(call("app:0", "x"), TARGET, "ok", 200, 1000.0)
    left = book.unreported()
    assert left[0] is sent
    assert [(batch.number, len(batch.rows)) for batch in left] == [(1, MOST_USAGE_ROWS), (2, 2)]
    assert book.unreported() == []
