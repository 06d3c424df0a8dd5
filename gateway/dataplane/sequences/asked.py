"""What a request says of its sequence."""

import msgspec

from gateway.errors import GatewayError, Kind

MOST = 2**64 - 1
"""The largest id that is a number, as Triton reads it."""
MOST_CHARS = 256
"""Of an id that is a text: room for any name that a caller makes of others, and little enough to be said again in replies."""


class Asked(msgspec.Struct, frozen=True):
    """Its id, and whether it is the first request of the sequence, or the last. 5 and "5" are not the same id."""

    id: int | str
    start: bool = False
    end: bool = False


def asked_of(sequence_id: object, start: object = False, end: object = False) -> Asked | None:
    """What these parameters say; None where they name no sequence, as 0 and "" do, and None for one that is not there.

    Raises BAD_REQUEST for what is no id, and for flags that are no booleans: Triton calls some of that a fault of its own (500).
    """
    for name, flag in (("sequence_start", start), ("sequence_end", end)):
        if not isinstance(flag, bool):
            raise GatewayError(
                Kind.BAD_REQUEST, f"Parameter '{name}' must be true or false, and not {kind_of(flag)}."
            )
    if sequence_id is None:
        return None
    if isinstance(sequence_id, bool) or not isinstance(sequence_id, int | str):
        raise no_id(kind_of(sequence_id))
    if isinstance(sequence_id, int):
        if not 0 <= sequence_id <= MOST:
            raise no_id("a number below 0" if sequence_id < 0 else "a larger number")
    elif len(sequence_id) > MOST_CHARS:
        raise no_id(f"a text of {len(sequence_id)}")
    return Asked(sequence_id, bool(start), bool(end)) if sequence_id else None


def no_id(what: str) -> GatewayError:
    """The refusal of an id that is `what`."""
    return GatewayError(
        Kind.BAD_REQUEST,
        f"Parameter 'sequence_id' must be a whole number from 1 to {MOST}, or a text of at most {MOST_CHARS} characters, "
        f"and not {what}.",
    )


def kind_of(value: object) -> str:
    """What a value of JSON is called."""
    if value is None:
        return "null"
    kinds = {
        bool: "a boolean",
        int: "a number",
        float: "a number with a fraction or an exponent",
        str: "a text",
    }
    return kinds.get(type(value), "a list" if isinstance(value, list) else "an object")
