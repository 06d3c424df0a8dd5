"""One answer in the making: what the model sends, ended where it must end, counted, and in OpenAI's words."""

from gateway.dataplane.call import Trail
from gateway.dataplane.openai.ending import Ending
from gateway.dataplane.openai.generated import read_piece
from gateway.dataplane.openai.wording import Wording, usage_of
from gateway.snapshot.adapters import TextOutputs
from gateway.upstream.exchange import Headers


class Answer:
    """By a model whose outputs are named `outputs`. Tokens of the prompt are an estimate until the model says better."""

    def __init__(
        self, trail: Trail, outputs: TextOutputs, ending: Ending, prompt_tokens: int, wording: Wording
    ) -> None:
        self._trail = trail
        self._outputs = outputs
        self.ending = ending
        self._prompt_tokens = prompt_tokens
        self.wording = wording

    def heard(self, data: bytes) -> str:
        """The model has sent a document: what may pass of its text. From now on its tokens count, whatever becomes of the rest.

        Raises BAD_GATEWAY where it cannot be read.
        """
        piece = read_piece(data, self._outputs)
        if piece.prompt_tokens is not None:
            self._prompt_tokens = piece.prompt_tokens
        passed = self.ending.add(piece)
        self._trail.tokens = self._prompt_tokens + self.ending.tokens
        return passed

    def usage(self) -> dict[str, int]:
        """What was used so far."""
        return usage_of(self._prompt_tokens, self.ending.tokens)

    def whole(self, _: Headers, body: bytes) -> bytes:
        """The whole answer, of a model that sent it as one document."""
        text = self.heard(body) + self.ending.end()
        return self.wording.whole(text, self.ending.reason or "stop", self.usage())
