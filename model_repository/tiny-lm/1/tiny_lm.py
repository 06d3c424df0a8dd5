"""`tiny-lm` for Triton's Python backend: writes text character by character, for many requests at once, in turns.

It needs numpy alone. Weights and network are those of `train_tiny_lm.py`. A token is a character.
"""

import threading
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]

END = 0
DEFAULT_MAX_TOKENS = 16
MOST_TOKENS = 4096
DEFAULT_TEMPERATURE = 1.0
HIGHEST_TEMPERATURE = 2.0


class LanguageModel:
    """Guesses the next symbol from those before. Symbol 0 is the end of a text, n the alphabet's n-th letter."""

    def __init__(self, weights: Any) -> None:
        self.alphabet = str(weights["alphabet"])
        self._embedding, self._hidden, self._output = (
            weights[name] for name in ("embedding", "hidden_weight", "output_weight")
        )
        self._hidden_bias, self._output_bias = weights["hidden_bias"], weights["output_bias"]
        self._context = self._hidden.shape[0] // self._embedding.shape[1]
        self._symbols = {letter: number for number, letter in enumerate(self.alphabet, start=1)}

    def read(self, text: str) -> list[int]:
        """The symbols of a text's last line, as many as the model sees. What it has never read is a space to it."""
        space = self._symbols[" "]
        symbols = [self._symbols.get(letter, space) for letter in text.rpartition("\n")[2]]
        return ([END] * self._context + symbols)[-self._context :]

    def guess(self, context: list[int], temperature: float, random: np.random.Generator) -> int:
        """The next symbol: the likeliest at temperature 0, else drawn from the softmax of scores / temperature."""
        read = self._embedding[context].reshape(-1)
        scores = np.tanh(read @ self._hidden + self._hidden_bias) @ self._output + self._output_bias
        if temperature == 0:
            return int(scores.argmax())
        powers = np.exp((scores - scores.max()).astype(np.float64) / temperature)
        sums = powers.cumsum()
        return int(sums.searchsorted(random.random() * sums[-1], side="right"))


class Generation:
    """One request's text while it is written. Raises ValueError for a request that cannot be served."""

    def __init__(self, request: Any, model: LanguageModel) -> None:
        prompt = _text(_input(request, "text_input")[0])
        self._max_tokens = int(_one(request, "max_tokens", DEFAULT_MAX_TOKENS))
        self._temperature = float(_one(request, "temperature", DEFAULT_TEMPERATURE))
        if not 1 <= self._max_tokens <= MOST_TOKENS:
            raise ValueError(f"max_tokens is {self._max_tokens}; it must be between 1 and {MOST_TOKENS}")
        if not 0 <= self._temperature <= HIGHEST_TEMPERATURE:
            raise ValueError(
                f"temperature is {self._temperature:g}; it must be between 0 and {HIGHEST_TEMPERATURE:g}"
            )
        seed = _one(request, "seed", None)
        self._random = np.random.Generator(np.random.PCG64(None if seed is None else int(seed)))
        words = _input(request, "stop_words")
        self._stop_words = [word for word in map(_text, () if words is None else words) if word]
        self._stream = bool(_one(request, "stream", False))
        self._model = model
        self._context = model.read(prompt)
        self._prompt_tokens = len(prompt)
        self._completion_tokens = 0
        self._text = ""
        self._sent = 0
        self._finish = ""
        self._sender = request.get_response_sender()

    def step(self) -> bool:
        """Writes one more token and sends what may be sent; whether there is more to come."""
        if self._sender.is_cancelled():
            self._sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
            return False
        symbol = self._model.guess(self._context, self._temperature, self._random)
        if symbol == END:
            self._finish = "stop"
        else:
            self._context = [*self._context[1:], symbol]
            self._write(self._model.alphabet[symbol - 1])
        ready = len(self._text) if self._finish else len(self._text) - self._held_back()
        if self._finish or (self._stream and ready > self._sent):
            self._send(self._text[self._sent : ready])
            self._sent = ready
        return not self._finish

    def _write(self, letter: str) -> None:
        self._text += letter
        self._completion_tokens += 1
        stop = max((word for word in self._stop_words if self._text.endswith(word)), key=len, default="")
        if stop:
            self._text = self._text.removesuffix(stop)
            self._finish = "stop"
        elif self._completion_tokens == self._max_tokens:
            self._finish = "length"

    def _held_back(self) -> int:
        """How many of the last characters may yet turn out to begin a stop word, which is never sent."""
        longest = max(map(len, self._stop_words), default=1) - 1
        for length in range(min(longest, len(self._text)), 0, -1):
            if any(word.startswith(self._text[-length:]) for word in self._stop_words):
                return length
        return 0

    def _send(self, piece: str) -> None:
        values = {
            "text_output": np.array([piece.encode()], object),
            "prompt_tokens": np.array([self._prompt_tokens], np.int32),
            "completion_tokens": np.array([self._completion_tokens], np.int32),
            "finish_reason": np.array([self._finish.encode()], object),
        }
        response = pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, value) for name, value in values.items()]
        )
        self._sender.send(
            response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if self._finish else 0
        )


class TritonPythonModel:
    """What the backend calls. Generations take turns, a token each, on a thread of the model's own."""

    def initialize(self, args: dict[str, str]) -> None:
        """Reads the weights and starts the thread."""
        folder = Path(args["model_repository"]) / args["model_version"]
        self._model = LanguageModel(np.load(folder / "weights.npy"))
        self._waiting: deque[Generation] = deque()
        self._changed = threading.Condition()
        self._ending = False
        self._writer = threading.Thread(target=self._write, name="tiny-lm", daemon=True)
        self._writer.start()

    def execute(self, requests: list[Any]) -> None:
        """Takes requests in; their answers come later, from the thread."""
        for request in requests:
            try:
                generation = Generation(request, self._model)
            except ValueError as error:
                fault = pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
                request.get_response_sender().send(
                    pb_utils.InferenceResponse([], fault), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
                )
            else:
                with self._changed:
                    self._waiting.append(generation)
                    self._changed.notify()

    def finalize(self) -> None:
        """Ends the thread."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._writer.join()

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ending)
                if self._ending:
                    return
                generation = self._waiting.popleft()
            if generation.step():
                self._waiting.append(generation)


def _input(request: Any, name: str) -> Any:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy()


def _one(request: Any, name: str, default: Any) -> Any:
    values = _input(request, name)
    return default if values is None else values[0]


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
