"""Hostile and broken requests: a clear 400, soon, and in little memory. Some of these end a real Triton's process."""

import gzip
import json
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.upstream.embedded import EmbeddedEngine
from tests.upstream.embedded.calls import ask, binary, error, infer, request, tensor, wish

A = tensor("INPUT0", "INT32", [1, 4], [1, 2, 3, 4])
B = tensor("INPUT1", "INT32", [1, 4], [1, 1, 1, 1])
GZIP = {b"content-encoding": b"gzip"}
MIB = 2**20


@contextmanager
def at_most(seconds: float, memory_mib: int) -> Iterator[None]:
    """The block takes no more of a processor's time, and allocates no more at any one moment."""
    tracemalloc.start()
    started = time.thread_time()
    try:
        yield
        assert time.thread_time() - started < seconds
        assert tracemalloc.get_traced_memory()[1] < memory_mib * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "shape", [[2**33, 1], [2**62, 2**62], [2**64 - 1] * 2, [2**63, 2], [2**32, 2**32], [2**62 + 1, 4]]
)
def test_declared_shapes_cost_nothing(engine: EmbeddedEngine, shape: list[int]) -> None:
    """A shape of more elements than there is memory, or than 64 bits can count, is compared with the data, not allocated."""
    with at_most(1, 16):
        sent = tensor("INPUT0", "INT32", shape, [1] * 4)
        assert "Shape does not match" in error(infer(engine, "identity_int32", request(sent)))
        sent = tensor("INPUT0", "INT32", shape, binary_data_size=16)
        assert "byte size mismatch" in error(
            infer(engine, "identity_int32", *binary(request(sent), bytes(16)))
        )
        texts = tensor("INPUT0", "BYTES", shape, ["a"])
        assert "string elements" in error(infer(engine, "identity_bytes", request(texts)))


def test_a_shape_of_very_many_dimensions_is_refused(engine: EmbeddedEngine) -> None:
    """A million dimensions are not multiplied out."""
    body = request(tensor("INPUT0", "INT32", [2**31] * 10**6, [1]))
    with at_most(2, 128):
        words = error(infer(engine, "identity_int32", body))
    assert "1000000 dimensions" in words


def test_classes_of_what_has_no_order_are_refused(engine: EmbeddedEngine) -> None:
    """BYTES have no best class; an empty output has none at all, which is an answer."""
    texts = request(
        tensor("INPUT0", "BYTES", [1, 2], ["a", "b"]), outputs=[wish("OUTPUT0", classification=2)]
    )
    assert "unsupported type 'BYTES'" in error(infer(engine, "identity_bytes", texts))
    empty = request(tensor("INPUT0", "FP32", [0, 3], []), outputs=[wish("OUTPUT0", classification=2)])
    reply = infer(engine, "identity_fp32", empty)
    assert json.loads(reply.body)["outputs"][0]["data"] == []


def test_classes_beyond_any_number_are_all_classes(engine: EmbeddedEngine) -> None:
    """A huge class count costs nothing."""
    body = request(
        tensor("image", "FP32", [1, 4], [1, 2, 3, 4]),
        outputs=[wish("probabilities", classification=2**64 - 1)],
    )
    assert len(json.loads(infer(engine, "scores", body).body)["outputs"][0]["data"]) == 4


@pytest.mark.parametrize(
    "value",
    [
        b"-1",
        b"+5",
        b"12abc",
        b"0x10",
        b"1.5",
        b"",
        b" 5",
        b"5 ",
        b"1e3",
        b"\xb2",
        b"99999999999",
        b"9" * 10**6,
        b"1000",
    ],
    ids=lambda value: repr(value[:12]),
)
def test_a_header_length_is_digits_within_the_body(engine: EmbeddedEngine, value: bytes) -> None:
    """Anything but plain digits, and any number beyond the body, is refused, at once."""
    with at_most(0.5, 16):
        words = error(infer(engine, "versions", request(A, B), {b"inference-header-content-length": value}))
    assert "Inference-Header-Content-Length" in words or "inference header size" in words
    assert len(words) < 300


@pytest.mark.parametrize("text", [b"[", b'{"a":', b'{"inputs":[', b'{"inputs":[{"data":['], ids=repr)
@pytest.mark.parametrize("operation", ["infer", "generate"])
def test_deep_documents_are_refused(engine: EmbeddedEngine, text: bytes, operation: str) -> None:
    """100 000 levels end neither the stack nor the patience."""
    with at_most(2, 64):
        words = error(ask(engine, operation, "versions", text * 100_000))
    assert words.startswith("failed to parse the request JSON buffer:")


@pytest.mark.parametrize(
    "text",
    [
        b'{"inputs":[],"inputs":[]}',
        b'{"inputs":[{"name":"INPUT0","name":"INPUT1"}]}',
        b'{"id":"a:b:c","inputs":[],"parameters":{"a":1,"a":1}}',
        b'{"a":1,"\\u0061":2}',
    ],
)
def test_a_key_twice_is_refused(engine: EmbeddedEngine, text: bytes) -> None:
    """Which of two values counts is not left to chance, wherever they stand and however they are spelled."""
    assert "appears twice" in error(infer(engine, "versions", text))


def test_colons_in_texts_are_no_keys(engine: EmbeddedEngine) -> None:
    """Strings full of colons pass the search for duplicate keys."""
    texts = ["a:b", ":::", '{"x":1,"x":2}', "\\:"]
    body = request(tensor("INPUT0", "BYTES", [1, 4], texts), id="urn:uuid:1")
    assert json.loads(infer(engine, "identity_bytes", body).body)["outputs"][0]["data"] == texts


@pytest.mark.parametrize(
    "literal", [b"NaN", b"Infinity", b"-Infinity", b"nan", b"1e999", b"1" * 5000, b"0x1", b"01", b".5"]
)
def test_numbers_that_json_lacks_are_refused(engine: EmbeddedEngine, literal: bytes) -> None:
    """Not-a-number, infinity and other numbers that are no JSON come as binary data or not at all."""
    body = request(tensor("INPUT0", "FP32", [1, 1], [12345])).replace(b"12345", literal)
    with at_most(0.5, 16):
        assert error(infer(engine, "identity_fp32", body))


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":"\xff"}',
        b'{"id":"\\ud800"}',
        b'{"id":"\\udc00\\ud800"}',
        b"\xef\xbb\xbf{}",
        b"{}\0",
        b'{"id":"\1"}',
        b"'a'",
    ],
)
def test_texts_that_are_no_unicode_are_refused(engine: EmbeddedEngine, body: bytes) -> None:
    """Invalid UTF-8, lone surrogates and control characters are refused."""
    assert error(infer(engine, "versions", body))


def test_more_json_than_can_be_held_is_refused(engine: EmbeddedEngine) -> None:
    """Above 16 MiB of JSON, tensors come as binary data; below, empty arrays without end are refused too."""
    with at_most(2, 64):
        words = error(infer(engine, "versions", b'{"inputs":[' + b"0," * 9 * MIB + b"0]}"), 413)
        assert "binary data" in words
        assert error(infer(engine, "versions", b'{"inputs":[' + b"[]," * 2 * MIB + b"[]]}"))


def test_a_bomb_is_unpacked_no_further_than_the_limit(model_folder: Path) -> None:
    """A quarter of a gigabyte in a quarter of a megabyte: 413, having held the limit and no more."""
    engine = EmbeddedEngine(model_folder, body_limit_bytes=8 * MIB)
    engine.load()
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join([*(packer.compress(bytes(MIB)) for _ in range(256)), packer.flush()])
    with at_most(2, 64):
        for _ in range(5):
            assert "larger than 8388608 bytes" in error(infer(engine, "versions", bomb, GZIP), 413)


def test_a_body_of_exactly_the_limit_is_unpacked(model_folder: Path) -> None:
    """The limit itself is allowed, one byte more is not."""
    body = request(A, B)
    for limit, status in ((len(body), 200), (len(body) - 1, 413)):
        engine = EmbeddedEngine(model_folder, body_limit_bytes=limit)
        engine.load()
        assert infer(engine, "versions", gzip.compress(body), GZIP).status == status


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-9], lambda b: b + b"x", lambda b: b + b, lambda b: b[:9], lambda b: b"\x1f\x8b"]
)
def test_damaged_gzip_is_refused(engine: EmbeddedEngine, damage: Any) -> None:
    """Cut off, followed by more, or no gzip at all."""
    assert "decompress" in error(infer(engine, "versions", damage(gzip.compress(request(A, B))), GZIP))


def test_an_unknown_coding_is_refused(engine: EmbeddedEngine) -> None:
    """415 with the codings that are known (RFC 9110 section 15.5.16)."""
    reply = infer(engine, "versions", b"x", {b"content-encoding": b"br"})
    assert error(reply, 415) == "Unsupported compression type"
    assert (b"Accept-Encoding", b"gzip, deflate") in reply.headers


@pytest.mark.parametrize("place", ["input", "output"])
def test_shared_memory_is_refused(engine: EmbeddedEngine, place: str) -> None:
    """There are no regions here, whatever their names."""
    region = {"shared_memory_region": "r" * 10**6, "shared_memory_byte_size": 16}
    second = tensor("INPUT1", "INT32", [1, 4], **region) if place == "input" else B
    wishes = [wish("OUTPUT0", **region)] if place == "output" else []
    words = error(infer(engine, "versions", request(A, second, outputs=wishes)))
    assert words.startswith("Unable to find shared memory region: 'rrr")
    assert len(words) < 300


def test_an_error_quotes_only_so_much(engine: EmbeddedEngine) -> None:
    """A name of a million characters does not come back whole."""
    reply = infer(engine, "versions", request(A, tensor("x" * 10**6, "INT32", [1, 4], [1] * 4)))
    assert len(error(reply)) < 5000


def test_bytes_that_are_no_text_are_refused(engine: EmbeddedEngine) -> None:
    """The runtime's Python interface takes UTF-8 text only; other bytes are refused, not garbled."""
    entry = tensor("INPUT0", "BYTES", [1, 1], binary_data_size=6)
    words = error(infer(engine, "identity_bytes", *binary(request(entry), b"\2\0\0\0\xff\xfe")))
    assert "must be UTF-8" in words


def test_a_failing_model_is_not_the_callers_fault(engine: EmbeddedEngine) -> None:
    """What the runtime refuses on well-formed input is a 500 with its words; generate has 400 for it, as in Triton."""
    five = tensor("x", "FP32", [5], [1] * 5)
    assert error(infer(engine, "picky", request(five)), 500).startswith("onnx runtime error 1: ")
    assert error(ask(engine, "generate", "picky", b'{"x":[1,2,3,4,5]}')).startswith("onnx runtime error 1: ")
    streamed = ask(engine, "generate_stream", "picky", b'{"x":[1,2,3,4,5]}')
    assert streamed.status == 400
    assert streamed.events is not None
    assert next(streamed.events).startswith(b'data: {"error":"onnx runtime error 1: ')
    assert infer(engine, "picky", request(tensor("x", "FP32", [4], [1] * 4))).status == 200
