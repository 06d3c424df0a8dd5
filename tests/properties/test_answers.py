"""However an upstream's bytes are cut: the same events, and an answer that ends at the same character."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.dataplane.openai.ending import Ending, StopCutter
from gateway.dataplane.openai.events import EventReader
from gateway.dataplane.openai.generated import Piece

letters = st.text("ab\n", max_size=30)
stops = st.lists(st.text("ab\n", min_size=1, max_size=5), max_size=4).map(tuple)


def cut(data: st.DataObject, whole: str) -> list[str]:
    """The text in pieces, cut anywhere, some of them empty."""
    places = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    return [whole[start:end] for start, end in zip([0, *places], [*places, len(whole)], strict=True)]


def by_the_letter(text: str, stops: tuple[str, ...]) -> tuple[str, bool]:
    """What must come out: the letters are read one by one, until the text read so far ends in a stop; the longest counts."""
    for end in range(1, len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - max(map(len, found))], True
    return text, False


@given(text=letters, stops=stops, data=st.data())
def test_a_text_is_cut_at_the_same_place_however_it_arrives(
    text: str, stops: tuple[str, ...], data: st.DataObject
) -> None:
    """A stop may span pieces, and begin within another; nothing of it passes, and nothing before it is lost."""
    cutter = StopCutter(stops)
    passed = "".join([cutter.feed(piece) for piece in cut(data, text)]) + cutter.end()
    assert (passed, cutter.stopped) == by_the_letter(text, stops)


@given(text=letters, stops=stops, data=st.data())
def test_what_is_held_back_could_become_a_stop(
    text: str, stops: tuple[str, ...], data: st.DataObject
) -> None:
    """No more is held back than must be: a caller reads along."""
    cutter = StopCutter(stops)
    passed = ""
    for piece in cut(data, text):
        passed += cutter.feed(piece)
    held = cutter.end()
    assert not held or any(stop.startswith(held) and stop != held for stop in stops)
    assert cutter.stopped or passed + held == text


@given(
    texts=st.lists(st.text("abc", max_size=6), max_size=20),
    most=st.integers(1, 12),
    told=st.booleans(),
    limited=st.booleans(),
)
def test_an_answer_has_no_more_tokens_than_it_may(
    texts: list[str], most: int, told: bool, limited: bool
) -> None:
    """By the model's count or by the estimate; and it ends by its length only where it has as many."""
    ending = Ending((), most, limited=limited)
    passed = ""
    for number, text in enumerate(texts, 1):
        passed += ending.add(Piece(text, tokens=number if told else None))
    passed += ending.end()
    assert "".join(texts).startswith(passed)
    assert ending.tokens <= most
    if ending.reason == "stop":
        assert passed == "".join(texts)
    else:
        assert (ending.reason, ending.tokens) == ("length", most)


events = st.lists(
    st.binary(max_size=20).filter(lambda data: b"\n" not in data and b"\r" not in data), max_size=8
)


@given(sent=events, end=st.sampled_from([b"\n", b"\r\n"]), data=st.data())
def test_events_are_read_however_they_are_cut(sent: list[bytes], end: bytes, data: st.DataObject) -> None:
    """Comments, other fields and empty events fall away; the space behind the colon is no part of the data."""
    lines = [b": a comment" + end + b"event: x" + end + b"data: " + each + end + end for each in sent]
    stream = b"".join(lines) + end
    places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    reader = EventReader()
    found: list[bytes] = []
    for start, stop in zip([0, *places], [*places, len(stream)], strict=True):
        found += reader.feed(stream[start:stop])
    assert found == sent
