"""How a measurement of its own tells what it found."""

import msgspec


def show(found: msgspec.Struct, text: str, *, as_json: bool, **derived: object) -> None:
    """Print the text, or as JSON the figures and what is derived from them."""
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(msgspec.to_builtins(found) | derived)).decode())
    else:
        print(text)
