"""Where an answer ends: before the first stop text, and behind the last token that may be, whatever the model does."""

from gateway.dataplane.openai.generated import Piece
from gateway.dataplane.openai.tokens import BYTES_PER_TOKEN


class StopCutter:
    """Cuts a text that arrives in pieces before the stop that is whole first; of several, before the one that began first.

    What may be the beginning of a stop is held back until it is known; how the text was cut into pieces changes nothing.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """What may pass of the text so far."""
        if self.stopped or not self._stops:
            return "" if self.stopped else text
        text = self._held + text
        found = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)[1]]
        keep = max(_begun(text, stop) for stop in self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def end(self) -> str:
        """Nothing follows: what was held back."""
        held, self._held = self._held, ""
        return held


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of the text are the beginning of the stop."""
    return next(
        (size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0
    )


class Ending:
    """Follows an answer of at most `most_tokens`. `limited`: the model was told of that, and no estimate is held against it.

    `reason` is why the answer ended, once it has: `stop` or `length`. `tokens` are those of the answer so far, by
    the model's own count, else by the estimate; each piece is one token at least.
    """

    def __init__(self, stops: tuple[str, ...], most_tokens: int, *, limited: bool) -> None:
        self._cutter = StopCutter(stops)
        self._most = most_tokens
        self._limited = limited
        self._pieces = 0
        self._bytes = 0
        self._told = False
        self._said: str | None = None
        self._spent = 0
        self.tokens = 0
        self.reason: str | None = None

    def add(self, piece: Piece) -> str:
        """What may pass of the next piece; nothing once there is a `reason`."""
        if self.reason is not None:
            return ""
        before = self._spent
        self._count(piece)
        text = piece.text
        over = self._spent > self._most
        if over:
            # Where the tokens of a piece end nobody knows: they are taken to be equally long.
            text = text[: len(text) * max(0, self._most - before) // (self._spent - before)]
            self.tokens = self._most
        passed = self._cutter.feed(text)
        if self._cutter.stopped:
            self.reason = "stop"
        elif over:
            passed += self._cutter.end()
            self.reason = "length"
        return passed

    def end(self) -> str:
        """The model has ended: what was held back. There is a `reason` now."""
        if self.reason is None:
            self.reason = self._said or ("length" if self.tokens >= self._most else "stop")
        return self._cutter.end()

    def _count(self, piece: Piece) -> None:
        self._pieces += bool(piece.text)
        self._bytes += len(piece.text.encode())
        if piece.reason:
            self._said = "length" if piece.reason in _LENGTHS else "stop"
        estimated = max(self._pieces, -(-self._bytes // BYTES_PER_TOKEN))
        if piece.tokens is not None:
            self._told = True
            self.tokens = self._spent = max(piece.tokens, self._spent)
        elif not self._told:
            self.tokens = min(estimated, self._most)
            self._spent = self._pieces if self._limited else estimated


_LENGTHS = frozenset({"length", "max_tokens"})
