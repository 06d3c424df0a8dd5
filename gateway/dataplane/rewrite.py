"""Replies that must name the alias instead of the model: gathered whole, then written anew."""

from collections.abc import Callable

import msgspec

from gateway.errors import GatewayError, Kind, Source
from gateway.types import Admission, Alias, Target
from gateway.upstream.exchange import Headers, ReplySource, Sink

MOST_BYTES = 4 * 1024 * 1024


class RewritingSink:
    """Takes a reply whole and passes on what `rewrite` makes of its body; errors of Triton's pass as they are."""

    def __init__(
        self, sink: Sink, rewrite: Callable[[bytes, Alias, Target], bytes], admission: Admission
    ) -> None:
        self._sink = sink
        self._rewrite = rewrite
        self._admission = admission
        self._status = 0
        self._headers: Headers = ()
        self._pieces: list[bytes] = []
        self._bytes = 0

    def reply_whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Rewrite and pass on."""
        if status == 200:
            body = self._rewrite(body, self._admission.permit.alias, self._admission.target)
        self._sink.reply_whole(status, headers, body)

    def reply_head(self, status: int, headers: Headers, length: int | None, source: ReplySource) -> None:
        """Keep the head until the body is there."""
        self._status, self._headers = status, headers

    def reply_data(self, data: bytes | memoryview) -> None:
        """Gather, within bounds."""
        self._bytes += len(data)
        if self._bytes > MOST_BYTES:
            raise GatewayError(
                Kind.BAD_GATEWAY, "The model's server sent too much metadata.", source=Source.UPSTREAM
            )
        self._pieces.append(bytes(data))

    def reply_end(self) -> None:
        """The reply is whole now."""
        self.reply_whole(self._status, self._headers, b"".join(self._pieces))


def metadata_of_alias(body: bytes, alias: Alias, target: Target) -> bytes:
    """Model metadata with the alias as `name` and its live versions as `versions`; all else as Triton says it."""
    try:
        document = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as error:
        raise GatewayError(
            Kind.BAD_GATEWAY, "The model's server sent metadata that is no JSON.", source=Source.UPSTREAM
        ) from error
    document["name"] = msgspec.Raw(msgspec.json.encode(alias.name))
    document["versions"] = msgspec.Raw(msgspec.json.encode([str(version) for version in sorted(alias.live)]))
    return msgspec.json.encode(document)
