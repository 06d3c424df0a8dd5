"""Calls are read in every form of the protocol; what cannot be read leaves a sample without it, and a reason."""

import gzip
import json
import math
import struct
import zlib
from typing import Any

import numpy as np
import pytest

from gateway.snapshot.document import MaskRule
from gateway.upstream.tensors import TensorSpec, VersionTensors
from tests.sampling.calls import MAX_BYTES, captured, inputs, kept, numbers, outputs, reply, request, tensor

KEEP_TEXT = MaskRule("keep", tensor="text")


def binary(*tensors: tuple[str, str, list[int], bytes]) -> tuple[bytes, bytes]:
    """A request with binary tensors, and the header field that says how long its JSON is."""
    rows = [
        {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(raw)}}
        for name, datatype, shape, raw in tensors
    ]
    head = json.dumps({"inputs": rows}).encode()
    body = head + b"".join(raw for *_, raw in tensors)
    return body, b"Inference-Header-Content-Length: %d\r\n" % len(head)


def strings(*texts: bytes) -> bytes:
    """BYTES elements as they travel."""
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def test_json_tensors_keep_their_numbers_flat_and_nested() -> None:
    """Values in row-major order as float64, with shape and datatype."""
    row = kept(
        captured(request(tensor("x", "FP32", [[1.5, 2], [3, 4]], [2, 2]), tensor("whole", "INT64", [7, -1])))
    )
    assert numbers(inputs(row)["x"]) == [1.5, 2, 3, 4]
    assert (inputs(row)["x"].shape, inputs(row)["x"].datatype) == ((2, 2), "FP32")
    assert numbers(inputs(row)["whole"]) == [7, -1]
    assert row.inputs_missing is None


def test_binary_tensors_are_read_in_order() -> None:
    """Every kind of number, BF16 with the bits of a shortened float, and texts."""
    body, header = binary(
        ("x", "FP32", [1, 2], np.array([0.1, 2], "<f4").tobytes()),
        ("text", "BYTES", [2], strings(b"good", b"\xff\xfe")),
        ("half", "FP16", [1], np.array([1.5], "<f2").tobytes()),
        ("brain", "BF16", [2], (np.array([1.5, -2], "<f4").view("<u4") >> 16).astype("<u2").tobytes()),
        ("flags", "BOOL", [2], b"\x01\x00"),
        ("whole", "INT64", [1], struct.pack("<q", -5)),
    )
    row = kept(captured(body, request_headers=header), KEEP_TEXT)
    assert numbers(inputs(row)["x"]) == [float(np.float32(0.1)), 2]
    assert inputs(row)["text"].texts == ("good", None)
    assert inputs(row)["text"].lengths == (4, 2)
    assert numbers(inputs(row)["half"]) == [1.5]
    assert numbers(inputs(row)["brain"]) == [1.5, -2]
    assert numbers(inputs(row)["flags"]) == [1, 0]
    assert numbers(inputs(row)["whole"]) == [-5]


def test_a_raw_body_is_the_models_one_input() -> None:
    """Its datatype is the model's; text is one element."""
    header = b"Inference-Header-Content-Length: 0\r\n"
    row = kept(
        captured(np.array([1, 2], "<f4").tobytes(), request_headers=header),
        known=VersionTensors((TensorSpec("x", "FP32"),)),
    )
    assert numbers(inputs(row)["x"]) == [1, 2]
    row = kept(
        captured(b"words", request_headers=header),
        KEEP_TEXT,
        known=VersionTensors((TensorSpec("text", "BYTES"),)),
    )
    assert inputs(row)["text"].texts == ("words",)
    assert kept(captured(b"words", request_headers=header)).inputs_missing == "unreadable"


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_compressed_bodies_are_unpacked_within_bounds(pack: Any) -> None:
    """Both formats, requests and replies; a bomb is given up, and so is what is cut short or damaged."""
    body = request(tensor("x", "FP32", [1, 2]))
    coded = b"Content-Encoding: gzip\r\n"
    row = kept(
        captured(pack(body), pack(reply(tensor("y", "FP32", [3, 4]))), request_headers=coded,
                 reply_headers=((b"content-encoding", b"deflate"),))
    )  # fmt: skip
    assert numbers(inputs(row)["x"]) == [1, 2]
    assert numbers(outputs(row)["y"]) == [3, 4]
    assert kept(captured(pack(bytes(MAX_BYTES + 1)), request_headers=coded)).inputs_missing == "too_large"
    assert kept(captured(pack(body)[:-9], request_headers=coded)).inputs_missing == "unreadable"
    assert kept(captured(b"none of it", request_headers=coded)).inputs_missing == "unreadable"


def test_a_reply_may_hold_what_json_does_not_have() -> None:
    """NaN and Infinity stand in Triton's replies."""
    row = kept(
        captured(reply=b'{"outputs":[{"name":"y","datatype":"FP32","shape":[3],"data":[NaN,Infinity,1]}]}')
    )
    values = numbers(outputs(row)["y"])
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, 1]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'{"inputs": 1}', b"[" * 100_000, b'{"inputs":' + b'{"a":' * 50_000,
        request(tensor("x", "FP32", ["1", "2"])), request(tensor("x", "FP33", [1])), request(tensor("x", "FP32", [1], [-1])),
        request(tensor("text", "BYTES", [1])), request({"name": "x", "datatype": "FP32", "shape": [1]}),
        request(tensor("x", "FP32", [1], [1_705_551_234])),
        request(tensor("whole", "INT64", [2**80])), request(tensor("x", "FP32", [1], [2**40])),
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}]}',
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":-4}}]}',
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_left_out(body: bytes) -> None:
    """The row stays, with its outcome and the reason; whatever a caller sends, masking does not fail."""
    row = kept(captured(body, status=400, outcome="model_refused"))
    assert (row.inputs, row.inputs_missing, row.outcome) == (None, "unreadable", "model_refused")


@pytest.mark.parametrize("length", [b"99999999999", b"-1", b"12abc", b"200"])
def test_a_json_length_that_cannot_be_is_left_out(length: bytes) -> None:
    """Longer than the body, negative, or no number."""
    header = b"Inference-Header-Content-Length: " + length + b"\r\n"
    assert kept(captured(request(), request_headers=header)).inputs_missing == "unreadable"


def test_a_name_that_is_not_the_models_is_the_callers_text() -> None:
    """It is kept nowhere, nor is anything beside it."""
    row = kept(captured(request(tensor("x", "FP32", [1]), tensor("john.doe", "FP32", [1])), status=400))
    assert (row.inputs, row.inputs_missing) == (None, "unknown_tensor")


def test_the_text_of_an_error_is_not_kept() -> None:
    """A server's error may quote the request; the outcome says what became of it."""
    row = kept(
        captured(reply=b'{"error":"no such user john.doe"}', status=400), MaskRule("keep", path="$.error")
    )
    assert (row.outputs, row.outputs_missing, row.reply_json) == ((), None, None)


def test_bodies_that_were_not_held_leave_their_reason() -> None:
    """Too large, or cut short by a caller who went."""
    row = kept(captured(None, None, outcome="caller_gone", status=499))
    assert (row.inputs, row.inputs_missing) == (None, "too_large")
    assert (row.outputs, row.outputs_missing) == (None, "incomplete")


def test_generate_keeps_what_rules_name() -> None:
    """A rule on a tensor is one on the member of its name; without a rule nothing is kept."""
    body = b'{"text_input": "write to a@b.example", "temperature": 0.5, "parameters": {"max_tokens": 20}}'
    answer = b'{"model_name": "m", "text_output": "done"}'
    bare = kept(captured(body, answer, operation="generate"))
    assert (bare.request_json, bare.reply_json, bare.inputs, bare.outputs) == (None, None, (), ())
    row = kept(
        captured(body, answer, operation="generate"),
        MaskRule("keep", tensor="text_input"),
        MaskRule("keep", path="$.parameters.max_tokens", part="request"),
        MaskRule("redact", path="$.text_output", part="reply"),
    )
    assert json.loads(row.request_json or "") == {
        "text_input": "write to [email]",
        "parameters": {"max_tokens": 20},
    }
    assert json.loads(row.reply_json or "") == {"text_output": "[redacted]"}


def test_a_stream_is_read_as_one_text() -> None:
    """An address that is cut by the end of an event is found all the same."""
    events = [b'{"text_output": "write to a"}', b'{"text_output": "@b.example now", "done": true}', b"[DONE]"]
    body = b"".join(b"data: " + event + b"\n\n" for event in events)
    row = kept(
        captured(
            b"{}", body, operation="generate_stream", reply_headers=((b"Content-Type", b"text/event-stream"),)
        ),
        MaskRule("keep", path="$.text_output"),
    )
    assert json.loads(row.reply_json or "") == {"text_output": "write to [email] now"}
    row = kept(
        captured(b"[]", b"data: 1\n\n", operation="generate_stream",
                 reply_headers=((b"Content-Type", b"text/event-stream"),))
    )  # fmt: skip
    assert (row.inputs_missing, row.outputs_missing) == ("unreadable", "unreadable")


def test_what_each_event_of_a_stream_says_of_itself_is_told_once() -> None:
    """The model's name is no text that goes on from event to event; any output of the model's is."""
    said = '"model_name": "tiny-lm", "model_version": "1", "id": "x"'
    events = [
        f'data: {{{said}, "words": "{words}", "finish_reason": "{reason}"}}\n\n'
        for words, reason in (("a", "going"), ("b", "going"), ("c", "length"))
    ]
    row = kept(
        captured(
            b"{}",
            "".join(events).encode(),
            operation="generate_stream",
            reply_headers=((b"Content-Type", b"text/event-stream"),),
        ),
        MaskRule("keep", path="$"),
    )
    assert json.loads(row.reply_json or "") == {
        "model_name": "tiny-lm",
        "model_version": "1",
        "id": "x",
        "words": "abc",
        "finish_reason": "length",
    }


def test_the_row_tells_the_call_and_no_names() -> None:
    """Outcome, durations, sizes and probability stay; who called is a pseudonym, and so is whom it was for."""
    row = kept(captured(b"{}", b"{}", routing_key=b"user-17"))
    assert (row.alias, row.model, row.version, row.arm) == ("a", "m", 2, "candidate")
    assert (row.outcome, row.status, row.inclusion) == ("ok", 200, 0.5)
    assert (row.duration_s, row.upstream_s, row.request_bytes, row.reply_bytes) == (0.25, 0.125, 2, 2)
    assert len(row.principal) == len(row.subject) == 32
    assert row.principal != row.subject
    assert "caller" not in str(row)
    assert "user-17" not in str(row)
    alone = kept(captured(b"{}", b"{}"))
    assert alone.principal == alone.subject == row.principal


def test_a_request_id_of_the_callers_own_is_looked_at_too() -> None:
    """A number of a person in place of an id becomes a pseudonym; random ids, UUIDs and plain names stay."""
    for harmless in ("00" * 16, "123e4567-e89b-12d3-a456-426614174000", "job-42.retry-1"):
        assert kept(captured(request_id=harmless)).request_id == harmless
    assert kept(captured(request_id="078-05-1120")).request_id != "078-05-1120"
