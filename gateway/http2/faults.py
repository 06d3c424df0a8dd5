"""What the other side does that may not be: it ends the connection, or one stream (RFC 9113 section 5.4)."""

from gateway.http2.codes import Code


class ConnectionFault(Exception):
    """Ends the connection with GOAWAY; `words` are its debug data. `answered`: whoever is at fault was just told so on a stream."""

    def __init__(self, code: Code, words: str, *, answered: bool = False) -> None:
        super().__init__(words)
        self.code = code
        self.words = words
        self.answered = answered


class StreamFault(Exception):
    """Ends one stream with RST_STREAM."""

    def __init__(self, code: Code, words: str) -> None:
        super().__init__(words)
        self.code = code
        self.words = words


class NoRoom(Exception):
    """No stream can be opened now: the other side takes no more at a time, or the connection is going or gone."""
