"""Where Triton says the id that went upstream, its caller reads its own, and no other byte is changed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from gateway.dataplane.grpc.messages import numbered, read_infer
from gateway.dataplane.grpc.sequences import OwnIdMessages
from gateway.dataplane.sequences.asked import Asked
from gateway.dataplane.sequences.own_id import FIRST_BYTES, OwnIdSink
from gateway.upstream.exchange import Flow, Headers, ReplySource

UPSTREAM = 2**62 + 12345
OWN = [7, "seven", 'sev"en\\', 'seven"', 2**64 - 1]
JSON_LENGTH = b"Inference-Header-Content-Length"


class Caller:
    """Takes a reply, and holds it to its lengths."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = ()
        self.length: int | None = None
        self.data = b""
        self.messages: list[bytes] = []
        self.ended = False

    def reply_whole(self, status: int, headers: Headers, body: bytes) -> None:
        self.reply_head(status, headers, len(body), Flow())
        self.reply_data(body)
        self.reply_end()

    def reply_head(self, status: int, headers: Headers, length: int | None, source: ReplySource) -> None:
        assert not self.status
        self.status, self.headers, self.length = status, headers, length

    def reply_data(self, data: bytes | memoryview) -> None:
        assert self.status
        self.data += data
        self.messages.append(bytes(data))

    def reply_end(self) -> None:
        assert self.length in (None, len(self.data))
        self.ended = True


def told(own: int | str, status: int, headers: Headers, body: bytes, pieces: int | None) -> Caller:
    """What the caller is told of a reply that comes whole (None), or in so many pieces."""
    caller = Caller()
    sink = OwnIdSink(caller, Asked(own), UPSTREAM)
    if pieces is None:
        sink.reply_whole(status, headers, body)
    else:
        sink.reply_head(status, headers, None if pieces == 3 else len(body), Flow())
        step = len(body) // pieces + 1
        for at in range(0, len(body), step):
            sink.reply_data(memoryview(body)[at : at + step])
        sink.reply_end()
    assert caller.ended
    return caller


@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize("pieces", [None, 1, 3, 1000])
@pytest.mark.parametrize("tensor_bytes", [0, 10, 3 * FIRST_BYTES])
def test_an_ensembles_reply(own: int | str, pieces: int | None, tensor_bytes: int) -> None:
    """Its JSON part says how long it is, and so does the whole; the tensors behind it pass untouched."""

    def head(name: str) -> bytes:
        text = '{"model_name":"e","model_version":"1","parameters":{"sequence_id":%s,"sequence_start":true},"outputs":[]}'
        return (text % name).encode()

    tensors = (b"%d" % UPSTREAM + b'"sequence_id":%d' % UPSTREAM)[:tensor_bytes].ljust(tensor_bytes, b"x")
    upstream, ours = head(str(UPSTREAM)), head(json.dumps(own))
    fields = ((b"A", b"b"), (JSON_LENGTH, b"%d" % len(upstream)))
    caller = told(own, 200, fields, upstream + tensors, pieces)
    assert caller.data == ours + tensors
    assert caller.headers == ((b"A", b"b"), (JSON_LENGTH, b"%d" % len(ours)))


@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize("pieces", [None, 1, 3])
def test_an_error(own: int | str, pieces: int | None) -> None:
    """It is still JSON, and says what Triton says."""
    words = "inference request for sequence %s to model 'm' must specify the START flag"
    caller = told(own, 400, (), json.dumps({"error": words % UPSTREAM}).encode(), pieces)
    assert json.loads(caller.data) == {"error": words % own}


@given(st.binary(max_size=10_000), st.sampled_from([None, 1, 2, 3, 7]))
def test_any_other_reply_passes_as_it_is(body: bytes, pieces: int | None) -> None:
    """Byte for byte, whatever pieces it comes in."""
    caller = told("own", 200, ((JSON_LENGTH, b"5"),), body, pieces)
    assert (caller.data, caller.headers) == (body, ((JSON_LENGTH, b"5"),))


def changed(own: int | str, status: int, body: bytes, *, streamed: bool) -> bytes:
    caller = Caller()
    sink = OwnIdMessages(caller, Asked(own), UPSTREAM, streamed=streamed)
    if streamed:
        sink.reply_head(status, (), None, Flow())
        sink.reply_data(body)
        sink.reply_end()
    else:
        sink.reply_whole(status, (), body)
    return caller.data


@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_message(own: int | str, streamed: bool) -> None:
    """All else in it is as it was; one that tells no id passes byte for byte."""
    reply = service_pb2.ModelInferResponse(model_name="e", id="9", raw_output_contents=[b"%d" % UPSTREAM])
    reply.parameters["sequence_start"].bool_param = True
    plain: Any = service_pb2.ModelStreamInferResponse(infer_response=reply) if streamed else reply
    assert changed(own, 200, plain.SerializeToString(), streamed=streamed) == plain.SerializeToString()
    telling = type(plain).FromString(plain.SerializeToString())
    inner = telling.infer_response if streamed else telling
    inner.parameters["sequence_id"].int64_param = UPSTREAM
    found = type(plain).FromString(changed(own, 200, telling.SerializeToString(), streamed=streamed))
    if isinstance(own, str):
        inner.parameters["sequence_id"].string_param = own
    else:
        inner.parameters["sequence_id"].int64_param = own if own < 2**63 else own - 2**64
    assert found == telling


def test_the_words_of_an_error_over_grpc() -> None:
    """Of a status, and of a message on a stream, which keeps the id of its request."""
    words = f"inference request for sequence {UPSTREAM} to model"
    assert (
        changed("own", 400, words.encode(), streamed=False) == b"inference request for sequence own to model"
    )
    message = service_pb2.ModelStreamInferResponse(error_message=words)
    message.infer_response.id = "9"
    found = service_pb2.ModelStreamInferResponse.FromString(
        changed("own", 400, message.SerializeToString(), streamed=True)
    )
    assert found.error_message == "inference request for sequence own to model"
    assert found.infer_response.id == "9"


@pytest.mark.parametrize("data", [b"\x0a\xff", b"\x12\x05abc", b"\xff" * 20, b""])
@pytest.mark.parametrize("streamed", [False, True])
def test_what_is_no_message_passes_as_it_is(data: bytes, streamed: bool) -> None:
    """Its caller will say what is wrong with it."""
    assert changed("own", 200, data, streamed=streamed) == data


@pytest.mark.parametrize(
    ("kind", "value", "name"),
    [
        ("int64_param", 5, 5),
        ("int64_param", -5, 2**64 - 5),
        ("string_param", "5", "5"),
        ("int64_param", 0, None),
        ("string_param", "", None),
    ],
)
def test_a_request_is_read_as_triton_reads_it(kind: str, value: Any, name: int | str | None) -> None:
    """An int64, whose sign it does not look at, or a text; flags are booleans. The id that is put behind it counts."""
    request = service_pb2.ModelInferRequest(model_name="m")
    setattr(request.parameters["sequence_id"], kind, value)
    request.parameters["sequence_start"].bool_param = True
    request.parameters["sequence_end"].int64_param = 1
    message = request.SerializeToString()
    assert read_infer(message).sequence == (None if name is None else Asked(name, start=True))
    sent = service_pb2.ModelInferRequest.FromString(message + numbered(UPSTREAM))
    assert sent.parameters["sequence_id"].int64_param == UPSTREAM
    assert sent.parameters["sequence_start"].bool_param
