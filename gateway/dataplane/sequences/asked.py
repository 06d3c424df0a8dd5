"""What a request says of its sequence."""

import msgspec

MOST = 2**64 - 1
"""The largest id that is a number, as Triton reads it."""


class Asked(msgspec.Struct, frozen=True):
    """Its id, and whether it is the first request of the sequence, or the last. 5 and "5" are not the same id."""

    id: int | str
    start: bool = False
    end: bool = False


def asked_of(sequence_id: object, start: object, end: object) -> Asked | None:
    """What these parameters say; None where they name no sequence, or one that Triton refuses: that it can say itself."""
    if type(sequence_id) is int:
        named = 0 < sequence_id <= MOST
    else:
        named = isinstance(sequence_id, str) and sequence_id != ""
    if not named:
        return None
    assert isinstance(sequence_id, int | str)
    return Asked(sequence_id, start is True, end is True)
