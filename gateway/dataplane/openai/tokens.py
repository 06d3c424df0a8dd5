"""How many tokens a text has, where no model tells."""

from typing import Final

BYTES_PER_TOKEN: Final = 4
"""Of UTF-8: what byte-pair vocabularies come to in English prose; other languages have more tokens than that."""


def estimate(text: str) -> int:
    """A fourth of the text's bytes, rounded up."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)
