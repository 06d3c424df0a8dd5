"""A request's body that is here whole before its call begins."""

from gateway.upstream.exchange import Receiver


class WholeBody:
    """`data` goes upstream as it is; `json` says whether it is text for the steps that look at a request's JSON."""

    __slots__ = ("_data", "_json", "length", "received")

    complete = True

    def __init__(self, data: bytes, *, json: bool) -> None:
        self._data = data
        self._json = json
        self.length: int | None = len(data)
        self.received = len(data)

    def open(self) -> None:
        """Whoever made it has looked at it."""

    def text(self) -> bytes | None:
        """All of it where it is JSON; else it has no such part."""
        return self._data if self._json else None

    def take(self) -> bytes:
        """All of it."""
        return self._data

    def start(self, receiver: Receiver) -> None:
        """Hand it over."""
        receiver.body_data(self._data)
        receiver.body_end()

    def pause(self) -> None:
        """Nothing more comes."""

    def resume(self) -> None:
        """Nothing more comes."""
