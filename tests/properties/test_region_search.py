"""A shared-memory region is found if, and only if, a JSON parser would see its key, however the text arrives."""

import gzip
import json
import zlib
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.dataplane.http.inspect import REGION, BodyInspector, KeySearch, search_whole
from gateway.errors import GatewayError

KEY = "shared_memory_region"
MAX = 64 * 1024 * 1024


def names_region(value: Any) -> bool:
    """Whether a decoded document has the key anywhere."""
    if isinstance(value, dict):
        return KEY in value or any(names_region(item) for item in value.values())
    return isinstance(value, list) and any(names_region(item) for item in value)


TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [
            KEY,
            "shared_memory",
            "_region",
            KEY + "_",
            KEY + '"',
            KEY + '":',
            '"' + KEY,
            KEY.upper(),
            "\\u0073" + KEY[1:],
        ]
    ),
)
DOCUMENTS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=10,
)
SPACE = st.text(alphabet=" \t\r\n", max_size=3)


@st.composite
def spelled(draw: st.DrawFn) -> str:
    """JSON text of a document with spaces and escapes wherever JSON allows them."""
    return write(draw(DOCUMENTS), draw)


def write(value: Any, draw: st.DrawFn) -> str:
    """One of the texts of a value."""
    if isinstance(value, str):
        return string(value, draw)
    if isinstance(value, list):
        return "[" + ",".join(pad(write(item, draw), draw) for item in value) + "]"
    if isinstance(value, dict):
        rows = (
            pad(string(key, draw), draw) + ":" + pad(write(item, draw), draw) for key, item in value.items()
        )
        return "{" + ",".join(rows) + "}"
    return json.dumps(value)


def pad(text: str, draw: st.DrawFn) -> str:
    """With spaces around it."""
    return draw(SPACE) + text + draw(SPACE)


def string(value: str, draw: st.DrawFn) -> str:
    """One of the spellings of a string."""
    if KEY not in value:
        return json.dumps(value)
    escaped = draw(st.sets(st.integers(0, len(value) - 1), max_size=25))
    upper = draw(st.booleans())
    pieces = []
    for index, char in enumerate(value):
        plain = char not in '"\\' and ord(char) >= 32
        code = f"{ord(char):04X}" if upper else f"{ord(char):04x}"
        pieces.append(char if plain and index not in escaped else f"\\u{code}")
    return '"' + "".join(pieces) + '"'


def finds(text: bytes, cuts: list[int]) -> bool:
    """Whether the search finds the key when the text arrives cut there."""
    search = KeySearch(REGION)
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    try:
        for start, end in pairwise(edges):
            search.feed(text[start:end])
    except GatewayError:
        return True
    return False


@settings(max_examples=1500)
@given(spelled(), st.lists(st.integers(0, 10_000), max_size=8))
@example('{"shared_memory_region":1}', [21, 22, 23])
@example('{"a":"shared_memory_region"}', [])
@example('["shared_memory_region", {"a": 1}]', [23])
def test_the_key_is_found_wherever_a_parser_sees_it(text: str, cuts: list[int]) -> None:
    """No spelling and no way of cutting the text hides the key, and no string value is taken for it."""
    data = text.encode()
    wanted = names_region(json.loads(text))
    if wanted:
        assert finds(data, cuts)
    elif nearly_names_region(json.loads(text)):
        # Such a key may be refused too: no protocol has it, and nothing is hidden by it.
        pass
    else:
        assert not finds(data, cuts)
    try:
        search_whole(data)
    except GatewayError:
        assert finds(data, cuts)
    else:
        assert not finds(data, cuts)


def nearly_names_region(value: Any) -> bool:
    """Whether some key ends in the word, perhaps with escapes that are themselves escaped."""
    if isinstance(value, dict):
        ends = (key.replace("\\u0073", "s").endswith(KEY) for key in value)
        return any(ends) or any(nearly_names_region(item) for item in value.values())
    return isinstance(value, list) and any(nearly_names_region(item) for item in value)


@settings(max_examples=200)
@given(spelled())
def test_byte_by_byte_is_the_same(text: str) -> None:
    """The hardest way of cutting a text."""
    data = text.encode()
    assert finds(data, list(range(len(data)))) == finds(data, [])


@pytest.mark.parametrize("pad_bytes", range(256 * 1024 - 420, 256 * 1024 + 30, 3))
@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
def test_no_step_of_decompression_hides_the_key(pad_bytes: int, encoding: bytes) -> None:
    """Around the size of a decompression step, with text that repeats, so that few bits make many bytes."""
    key = b'"shared_memory_region":"'
    text = b'{"x":' + key[:-3] + b'","y":"' + b"a" * pad_bytes + b'",' + key + b'r"}'
    data = gzip.compress(text) if encoding == b"gzip" else zlib.compress(text, 9)
    inspector = BodyInspector(encoding, None, MAX)
    with pytest.raises(GatewayError):
        inspector.feed(data)


@given(st.binary(max_size=300), st.integers(0, 400))
def test_only_the_json_part_is_looked_at(noise: bytes, json_bytes: int) -> None:
    """Behind the declared JSON anything may stand."""
    head = b'{"inputs":[]}'.ljust(json_bytes)[:json_bytes]
    inspector = BodyInspector(b"", json_bytes, MAX)
    inspector.feed(head + b'"shared_memory_region":1')
    inspector.feed(noise + b'"shared_memory_region":1')


def test_a_long_pause_between_key_and_colon_hides_nothing() -> None:
    """JSON allows any number of spaces there, in any number of pieces."""
    search = KeySearch(REGION)
    search.feed(b'{"shared_memory_region"')
    for _ in range(1000):
        search.feed(b"  \n\t" * 50)
    with pytest.raises(GatewayError):
        search.feed(b' :"x"}')
