"""One case of the RFCs: what is sent, and what must be seen on the wire."""

from typing import Protocol

import msgspec
from hyperframe.frame import Frame, GoAwayFrame, RstStreamFrame

from tests.http2.peer import GOOD, Closed, Peer
from tests.http2.wire import Code, request


class Seen(Protocol):
    """What may come of a case."""

    def __call__(self, peer: Peer) -> bool:
        """Whether that is what came last."""


class Ends(msgspec.Struct, frozen=True):
    """A connection error: GOAWAY with the code, and then the connection is closed."""

    code: Code

    def __call__(self, peer: Peer) -> bool:
        last = peer.frames[-1] if peer.frames else None
        return isinstance(last, GoAwayFrame) and last.error_code == self.code and self._closes(peer)

    def _closes(self, peer: Peer) -> bool:
        return peer.until_closed() == self.code


class Resets(msgspec.Struct, frozen=True):
    """A stream error: RST_STREAM with the code, and the connection goes on."""

    code: Code
    stream: int = 1

    def __call__(self, peer: Peer) -> bool:
        last = peer.frames[-1] if peer.frames else None
        if not (
            isinstance(last, RstStreamFrame)
            and last.stream_id == self.stream
            and last.error_code == self.code
        ):
            return False
        peer.until(lambda found: _ended(found, GOOD))
        peer.goes_on(GOOD + 2)
        return True


class Answers(msgspec.Struct, frozen=True):
    """No error: the request is answered, and so is the one behind it."""

    stream: int = 1

    def __call__(self, peer: Peer) -> bool:
        wanted = {self.stream, GOOD}
        ended = {
            found.stream_id for found in peer.frames if _ended(found, self.stream) or _ended(found, GOOD)
        }
        errors = [found for found in peer.frames if isinstance(found, GoAwayFrame | RstStreamFrame)]
        return ended == wanted and not errors and {peer.fields[s].get("grpc-status") for s in wanted} == {"0"}


class Ignores(msgspec.Struct, frozen=True):
    """Nothing comes of it: no error, and a good request is answered."""

    def __call__(self, peer: Peer) -> bool:
        return Answers(GOOD)(peer)


class Finishes(msgspec.Struct, frozen=True):
    """The request is answered, and then the connection ends well: nothing behind it was looked at."""

    stream: int = 1

    def __call__(self, peer: Peer) -> bool:
        ended = any(_ended(found, self.stream) for found in peer.frames)
        last = peer.frames[-1] if peer.frames else None
        return (
            ended
            and peer.fields[self.stream].get("grpc-status") == "0"
            and isinstance(last, GoAwayFrame)
            and last.error_code == Code.NO_ERROR
            and peer.until_closed() == Code.NO_ERROR
        )


class Case(msgspec.Struct, frozen=True):
    """`sent` behind the preface has one of the outcomes in `seen`; `section` is where the RFC says so."""

    section: str
    what: str
    sent: bytes
    seen: tuple[Seen, ...]

    def __str__(self) -> str:
        return f"{self.section} {self.what}"


def case(section: str, what: str, sent: bytes, *seen: Seen) -> Case:
    """A case with one outcome, or with those that the RFC leaves a choice of."""
    return Case(section, what, sent, seen)


def check(one: Case, address: tuple[str, int]) -> None:
    """Send it, with a good request behind it, and read until one of its outcomes is there."""
    with Peer(address) as peer:
        peer.send(one.sent + request(GOOD))
        while not any(seen(peer) for seen in one.seen):
            try:
                peer.next()
            except (Closed, TimeoutError) as error:
                raise AssertionError(f"{one}: wanted {one.seen}, came {peer.frames}") from error


def _ended(found: Frame, stream: int) -> bool:
    return found.stream_id == stream and "END_STREAM" in found.flags
