"""One stream: a request and its reply (RFC 9113 section 5)."""

from typing import Protocol

from gateway.http2.codes import Code

Field = tuple[bytes, bytes]


class Head:
    """A list of fields, in order, pseudo-fields first. Blocks that are alike give the same object while that can be.

    `meaning` is for whoever reads it: None at first, and then what it made of these fields.
    """

    __slots__ = ("fields", "meaning", "too_large")

    def __init__(self, fields: tuple[Field, ...], *, too_large: bool = False) -> None:
        self.fields = fields
        self.meaning: object = None
        self.too_large = too_large


class Receiver(Protocol):
    """Takes what comes on one stream."""

    def head(self, head: Head, *, ended: bool) -> None:
        """A client's: the reply's status and fields (informational ones, 1xx, are left out); `ended`: nothing follows."""

    def data(self, data: memoryview, *, ended: bool) -> None:
        """The next bytes, lent for the call; perhaps none, where only the end comes. To be `consumed`, all of them, some time."""

    def trailers(self, head: Head) -> None:
        """The fields behind the data. Nothing follows."""

    def reset(self, code: int, *, unprocessed: bool) -> None:
        """The stream is over, and nothing more comes or can be sent. `unprocessed`: the other side has done nothing, it may be tried
        again on another connection.
        """

    def drained(self) -> None:
        """What had to wait (`send_data` said so) has gone; more may follow."""


class Stream:
    """One stream of a connection. Once it is over, or reset, what is sent on it is dropped."""

    __slots__ = ("id", "receiver")

    id: int
    receiver: Receiver

    def send_head(self, block: bytes, *, end: bool = False) -> None:
        """The fields that a reply begins with (a request's go with `Connection.open`)."""
        raise NotImplementedError

    def send_data(self, data: bytes | memoryview, *, end: bool = False) -> bool:
        """Send bytes, which may not change any more. False: some wait for the other side; `Receiver.drained` tells when none does."""
        raise NotImplementedError

    def send_trailers(self, block: bytes) -> None:
        """The fields behind the data, and the end."""
        raise NotImplementedError

    def send_whole(self, block: bytes, data: bytes, trailers: bytes) -> None:
        """All of a reply, in one write where the windows allow it."""
        raise NotImplementedError

    def reset(self, code: Code = Code.CANCEL) -> None:
        """End it at once. The receiver is told of nothing any more."""
        raise NotImplementedError

    def consumed(self, count: int) -> None:
        """So many bytes of what was received are done with: the other side may send as many again."""
        raise NotImplementedError

    def expect(self, count: int) -> None:
        """Let the other side send so many bytes beyond those received, even if that is more than the window."""
        raise NotImplementedError
