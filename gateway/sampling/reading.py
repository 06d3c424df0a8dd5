"""From a captured call to a masked row: read, mask, and let go of everything else."""

import re
import zlib
from collections.abc import Callable, Iterable

from gateway.observe import metrics
from gateway.sampling import generate, infer, rpc
from gateway.sampling.content import Content, NotKept
from gateway.sampling.documents import DocumentMask
from gateway.sampling.mask import Masks
from gateway.sampling.row import KeptTensor, SampleRow
from gateway.sampling.texts import Allowance
from gateway.secret import Pseudonyms
from gateway.snapshot.document import Part
from gateway.types import STREAM_INFER, Captured, Field
from gateway.upstream.tensors import VersionTensors

# 32 + 15: zlib and gzip formats are told apart by their headers (zlib manual, inflateInit2).
_EITHER_FORMAT = 47
_LENGTH = re.compile(rb"[0-9]{1,11}")
# Ids of the gateway's own and UUIDs are random: digits in them are nobody's number.


class Reader:
    """Masks captured calls. `max_bytes` bounds a request's, and a reply's, body once it is decompressed."""

    def __init__(self, pseudonyms: Pseudonyms, max_bytes: int) -> None:
        self._pseudonyms = pseudonyms
        self._max = max_bytes

    def row(self, call: Captured, masks: Masks, known: VersionTensors) -> SampleRow:
        """The masked row of a call."""
        allowance = masks.allowance()
        documents = masks.generated if call.operation.startswith("generate") else masks.documents
        inputs, request_json, inputs_missing = self._part(
            "request", call.request, call.request_missing, masks, documents["request"], allowance,
            lambda body: self._request(call, body, known),
        )  # fmt: skip
        outputs, reply_json, outputs_missing = self._part(
            "reply", call.reply, call.reply_missing, masks, documents["reply"], allowance,
            lambda body: self._reply(call, body, known),
        )  # fmt: skip
        return SampleRow(
            alias=call.alias,
            model=call.target.model,
            version=call.target.version,
            arm=call.target.arm,
            request_id=masks.request_id(call.request_id),
            at=call.at,
            inclusion=call.inclusion,
            protocol=call.protocol,
            operation=call.operation,
            outcome=call.outcome,
            status=call.status,
            duration_s=call.duration_s,
            upstream_s=call.upstream_s,
            request_bytes=call.request_bytes,
            reply_bytes=call.reply_bytes,
            principal=self._pseudonyms.of(call.principal),
            subject=self._pseudonyms.of(call.principal if call.routing_key is None else call.routing_key),
            inputs=inputs,
            outputs=outputs,
            inputs_missing=inputs_missing,
            outputs_missing=outputs_missing,
            request_json=request_json,
            reply_json=reply_json,
        )

    def _part(
        self,
        part: Part,
        body: bytes | None,
        missing: str | None,
        masks: Masks,
        documents: DocumentMask,
        allowance: Allowance,
        read: Callable[[bytes], Content],
    ) -> tuple[tuple[KeptTensor, ...] | None, str | None, str | None]:
        """The tensors and the document of one part, masked, or why they are not kept."""
        if body is None:
            metrics.SAMPLES_BARE.labels(part, missing or "incomplete").inc()
            return None, None, missing
        try:
            content = read(body)
            tensors = tuple(
                kept for each in content.tensors if (kept := masks.tensor(part, each, allowance)) is not None
            )
            return tensors, documents.text(content.document, allowance), None
        except NotKept as why:
            metrics.SAMPLES_BARE.labels(part, why.reason).inc()
            return None, None, why.reason

    def _request(self, call: Captured, body: bytes, known: VersionTensors) -> Content:
        if call.protocol == "grpc":
            return rpc.read_request(body, known)
        fields = _fields(call.request_headers)
        body = self._unpacked(body, fields.get(b"content-encoding", b""))
        if call.operation != "infer":
            return generate.read_document(body)
        return infer.read_request(body, _json_bytes(fields), known)

    def _reply(self, call: Captured, body: bytes, known: VersionTensors) -> Content:
        # What gRPC compresses it has unpacked itself; a field that says otherwise is anybody's.
        fields = {} if call.protocol == "grpc" else _lowered(call.reply_headers)
        body = self._unpacked(body, fields.get(b"content-encoding", b""))
        if call.status >= 400 or not body:
            # An error is text of the server's, which may quote the request.
            return Content([], {})
        if call.protocol == "grpc":
            read = rpc.read_replies if call.operation == STREAM_INFER.name else rpc.read_reply
            return read(body, known)
        if call.operation == "infer":
            return infer.read_reply(body, _json_bytes(fields), known)
        stream = fields.get(b"content-type", b"").startswith(b"text/event-stream")
        return generate.read_stream(body) if stream else generate.read_document(body)

    def _unpacked(self, body: bytes, coding: bytes) -> bytes:
        if coding.lower() in (b"", b"identity"):
            return body
        stream = zlib.decompressobj(_EITHER_FORMAT)
        try:
            plain = stream.decompress(body, self._max)
        except zlib.error as error:
            raise NotKept("unreadable") from error
        if not stream.eof:
            raise NotKept("too_large" if stream.unconsumed_tail else "unreadable")
        return plain


def _fields(block: bytes) -> dict[bytes, bytes]:
    pairs = (line.partition(b":") for line in block.split(b"\r\n") if line)
    return {name.lower(): value.strip() for name, _, value in pairs}


def _lowered(headers: Iterable[Field]) -> dict[bytes, bytes]:
    return {name.lower(): value.strip() for name, value in headers}


def _json_bytes(fields: dict[bytes, bytes]) -> int | None:
    text = fields.get(b"inference-header-content-length")
    if text is None:
        return None
    if not _LENGTH.fullmatch(text):
        raise NotKept("unreadable")
    return int(text)
