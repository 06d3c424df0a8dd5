"""A request's body that is here whole before its call begins."""

from gateway.upstream.exchange import Receiver


class WholeBody:
    """`data` goes upstream as it is; `text` is what the steps see that look at a request's JSON, None where it has none."""

    __slots__ = ("_data", "_text", "length", "received")

    complete = True

    def __init__(self, data: bytes, *, text: bytes | None = None) -> None:
        self._data = data
        self._text = text
        self.length: int | None = len(data)
        self.received = len(data)

    def open(self) -> None:
        """Whoever made it has looked at it."""

    def text(self) -> bytes | None:
        """Its JSON part, if it has one."""
        return self._text

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
