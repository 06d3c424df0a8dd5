"""The first step of `minilm` for Triton's Python backend: text to the ids of a BERT model without letter case.

It needs numpy alone, and `vocab.txt` beside it. Splitting and WordPiece are those of J. Devlin et al., "BERT" (2019), as
the authors' `tokenization.py` has them; what looks like a special token in a text is text.
"""

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]

MOST_TOKENS = 256  # what the model was trained with; more is cut off
LONGEST_WORD = 100  # letters; a longer one is unknown
# Where Chinese characters stand, each a word of its own: the ranges of the authors' code.
CHINESE = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class Tokenizer:
    """Texts to ids of a vocabulary, whose n-th line is the token with id n."""

    def __init__(self, vocabulary: list[str]) -> None:
        self._ids = {token: number for number, token in enumerate(vocabulary)}
        self._unknown, self._begin, self._end = (self._ids[name] for name in ("[UNK]", "[CLS]", "[SEP]"))

    def ids(self, text: str) -> list[int]:
        """The ids of a text between those of its beginning and its end, `MOST_TOKENS` at most."""
        found: list[int] = []
        for word in words(text):
            if len(found) >= MOST_TOKENS - 2:
                break
            found += self._pieces(word)
        return [self._begin, *found[: MOST_TOKENS - 2], self._end]

    def _pieces(self, word: str) -> list[int]:
        """The longest token that the word begins with, then the longest that goes on, and so forth."""
        if len(word) > LONGEST_WORD:
            return [self._unknown]
        found, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = self._ids.get(("##" if start else "") + word[start:end])
                if piece is not None:
                    break
            else:
                return [self._unknown]
            found.append(piece)
            start = end
        return found


def words(text: str) -> list[str]:
    """Lower-case words without accents; a punctuation mark and a Chinese character are words of their own."""
    cleaned = "".join(map(_cleaned, text))
    bare = "".join(
        letter for letter in unicodedata.normalize("NFD", cleaned) if unicodedata.category(letter) != "Mn"
    )
    return "".join(f" {letter} " if _is_punctuation(letter) else letter for letter in bare.lower()).split()


def _cleaned(letter: str) -> str:
    if letter in "\t\n\r" or letter.isspace():
        return " "
    if letter == "\ufffd" or unicodedata.category(letter) in ("Cc", "Cf", "Cn", "Co"):
        return ""
    if any(first <= ord(letter) <= last for first, last in CHINESE):
        return f" {letter} "
    return letter


def _is_punctuation(letter: str) -> bool:
    # Of ASCII, signs such as $ and ^ too, which Unicode does not call punctuation.
    if letter < "\x7f":
        return not letter.isalnum() and not letter.isspace()
    return unicodedata.category(letter).startswith("P")


class TritonPythonModel:
    """What the backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Reads the vocabulary."""
        path = Path(args["model_repository"]) / args["model_version"] / "vocab.txt"
        self._tokenizer = Tokenizer(path.read_text(encoding="utf-8").splitlines())

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response for each request."""
        return [self._tokenized(request) for request in requests]

    def _tokenized(self, request: Any) -> Any:
        texts = pb_utils.get_input_tensor_by_name(request, "text").as_numpy().ravel()
        rows = [self._tokenizer.ids(text.decode(errors="replace")) for text in texts]
        lengths = np.array([len(row) for row in rows])
        mask = np.arange(lengths.max()) < lengths[:, None]
        ids = np.zeros(mask.shape, np.int64)  # 0 is [PAD]
        ids[mask] = np.concatenate(rows)
        tensors = {
            "input_ids": ids,
            "attention_mask": mask.astype(np.int64),
            "tokens": lengths.astype(np.int32)[:, None],
        }
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in tensors.items()])
