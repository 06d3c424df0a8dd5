"""The memory in which workers tell each other what they have to do."""

from gateway.supervisor.loads import EVENTS, Loads, OwnLoads


def test_what_one_worker_tells_the_others_read() -> None:
    """A record and its events are seen through every mapping of the memory, by name."""
    loads = Loads.create(3, rows=64)
    loads.occupy(0, 7)
    loads.occupy(2, 8)
    first = OwnLoads(loads, 0).claim(b"m/1")
    second = OwnLoads(Loads(loads.fd, 3), 2).claim(b"m/1")
    other = OwnLoads(loads, 2).claim(b"m/2")
    assert first is not None
    assert second is not None
    assert other is not None
    assert first.told() == []
    first.put([(1.0, 2.0, 3.0, 4.0)])
    first.tell([5.0, 6.0])
    second.tell([9.0])
    assert [(place, life, record[:2]) for place, life, record in second.told()] == [
        (0, 7, [5.0, 6.0]),
        (2, 8, [9.0, 0.0]),
    ]
    assert list(second.heard(0, 0, first.events)) == [[1.0, 2.0, 3.0, 4.0]]
    assert other.told() == []


def test_only_the_last_events_are_kept() -> None:
    """Who reads too late misses the oldest, and reads none twice."""
    loads = Loads.create(1, rows=1)
    loads.occupy(0, 1)
    row = OwnLoads(loads, 0).claim(b"m/1")
    assert row is not None
    row.put((float(number), 0.0, 0.0, 0.0) for number in range(EVENTS + 10))
    numbers = [event[0] for event in row.heard(0, 5, row.events)]
    assert numbers == [float(number) for number in range(10, EVENTS + 10)]
    assert list(row.heard(0, row.events, row.events)) == []


def test_what_the_dead_have_left_counts_no_more() -> None:
    """From the moment that the supervisor knows of the end; the next worker in that place begins with nothing."""
    loads = Loads.create(2, rows=1)
    loads.occupy(0, 1)
    loads.occupy(1, 2)
    mine, theirs = OwnLoads(loads, 0).claim(b"m/1"), OwnLoads(loads, 1).claim(b"m/1")
    assert mine is not None
    assert theirs is not None
    mine.tell([1.0])
    theirs.tell([2.0])
    loads.vacate(1)
    assert [place for place, *_ in mine.told()] == [0]
    loads.occupy(1, 3)
    assert [place for place, *_ in mine.told()] == [0]
    successor = OwnLoads(loads, 1).claim(b"m/1")
    assert successor is not None
    successor.tell([4.0])
    assert [(place, life) for place, life, _ in mine.told()] == [(0, 1), (1, 3)]


def test_a_row_has_one_name_in_each_worker() -> None:
    """A second name that falls into it is not shared, until the first one is let go of; other workers' names do not matter."""
    loads = Loads.create(2, rows=1)
    loads.occupy(0, 1)
    loads.occupy(1, 2)
    mine, theirs = OwnLoads(loads, 0), OwnLoads(loads, 1)
    row, other = mine.claim(b"m/1"), theirs.claim(b"m/2")
    assert row is not None
    assert other is not None
    row.tell([1.0])
    other.tell([2.0])
    assert mine.claim(b"m/2") is None
    assert [place for place, *_ in row.told()] == [0]
    mine.release(row)
    again = mine.claim(b"m/2")
    assert again is not None
    again.tell([3.0])
    assert [place for place, *_ in other.told()] == [0, 1]
