"""Server-sent events (WHATWG HTML, section 9.2): read from an upstream's bytes, however they are cut."""

from gateway.errors import GatewayError, Kind, Source

MOST_EVENT_BYTES = 4 * 1024 * 1024


class EventReader:
    """Gives the data of each event that is whole. Other fields than `data` are of no use here, and dropped.

    Lines end in LF or CRLF; a bare CR, which the standard has too, no server of models sends.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The events that end in these bytes. Raises BAD_GATEWAY for one that is too large."""
        self._rest += data
        events: list[bytes] = []
        if b"\n" in data:
            *lines, self._rest = self._rest.split(b"\n")
            found = (self._line(bytes(line.removesuffix(b"\r"))) for line in lines)
            events = [event for event in found if event is not None]
        if self._size + len(self._rest) > MOST_EVENT_BYTES:
            raise GatewayError(
                Kind.BAD_GATEWAY,
                "The model's server sent an event that is too large.",
                source=Source.UPSTREAM,
            )
        return events

    def _line(self, line: bytes) -> bytes | None:
        if not line:
            data, self._data, self._size = self._data, [], 0
            return b"\n".join(data) if data else None
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
            self._size += len(line)
        return None
