"""How replies are packed and classes are chosen."""

import gzip
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.embedded import EmbeddedEngine
from gateway.upstream.embedded.classification import best_classes
from gateway.upstream.embedded.compression import packed, preferred_coding, unpacked
from gateway.upstream.embedded.datatypes import BY_NAME
from gateway.upstream.embedded.messages import Refusal
from tests.upstream.embedded.calls import infer, parsed, request, tensor

ONE = request(tensor("image", "FP32", [1, 4], [1] * 4))


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (b"gzip", b"gzip"),
        (b"deflate", b"deflate"),
        (b"gzip, deflate", b"gzip"),
        (b"deflate, gzip", b"deflate"),
        (b"gzip;q=0.5, deflate;q=0.8", b"deflate"),
        (b"gzip;q=0.5, identity;q=0.4", b"gzip"),
        (b"identity, gzip;q=0.5", b""),
        (b"GZIP", b"gzip"),
        (b"gzip ; q=0.5", b"gzip"),
        (b"gzip;q=0", b""),
        (b"gzip;q=x", b""),
        (b"gzip;q=nan", b""),
        (b"br, *", b""),
        (b",;,", b""),
        (b"", b""),
    ],
)
def test_the_caller_says_which_coding(accept: bytes, coding: bytes) -> None:
    """The highest weight of those known, the first among equals, none where none is wanted (RFC 9110 section 12.5.3)."""
    assert preferred_coding(accept) == coding


@pytest.mark.parametrize(("accept", "unpack"), [(b"gzip", gzip.decompress), (b"deflate", zlib.decompress)])
def test_replies_are_packed(engine: EmbeddedEngine, accept: bytes, unpack: object) -> None:
    """A packed reply says so, and is the plain one when unpacked; errors stay plain."""
    plain, coded = infer(engine, "scores", ONE), infer(engine, "scores", ONE, {b"accept-encoding": accept})
    assert (b"Content-Encoding", accept) in coded.headers
    assert callable(unpack)
    assert unpack(coded.body) == plain.body
    assert "error" in parsed(infer(engine, "scores", b"{}", {b"accept-encoding": accept}))


@given(st.binary(max_size=4096), st.sampled_from([b"gzip", b"deflate"]))
def test_packing_and_unpacking_are_inverse(body: bytes, coding: bytes) -> None:
    """Whatever is packed is unpacked, within a limit of its own length and not within one less."""
    sent, named = packed(body, coding)
    assert named == coding
    assert unpacked(sent, coding, max(len(body), 1)) == body
    if len(body) > 1:
        with pytest.raises(Refusal, match="larger than"):
            unpacked(sent, coding, len(body) - 1)


@given(
    st.lists(st.lists(st.integers(-5, 5), min_size=1, max_size=8), min_size=1, max_size=3), st.integers(1, 10)
)
def test_the_best_classes_come_first(rows: list[list[int]], classes: int) -> None:
    """Descending scores, equal ones by index, for each row of the batch."""
    width = min(map(len, rows))
    array = np.array([row[:width] for row in rows], dtype=np.int32)
    chosen = best_classes(array, BY_NAME["INT32"], classes, (), batched=True)
    assert chosen.shape == (len(rows), min(classes, width))
    for row, texts in zip(array.tolist(), chosen.tolist(), strict=True):
        best = sorted(range(width), key=lambda index: (-row[index], index))[:classes]
        assert texts == [f"{row[index]}:{index}" for index in best]


def test_labels_stand_where_there_are_some() -> None:
    """The label of a class follows its index; a blank or missing one leaves no trace."""
    scores = np.array([0.5, 3.0, 2.0, 1.0], dtype=np.float32)
    chosen = best_classes(scores, BY_NAME["FP32"], 4, ("zero", "", "two"), batched=False)
    assert chosen.tolist() == ["3.000000:1", "2.000000:2:two", "1.000000:3", "0.500000:0:zero"]
