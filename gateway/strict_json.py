"""Reads a JSON body strictly and says everything that is wrong with it at once.

What two readers could take for different things (duplicate keys, lone surrogates, endless nesting) is refused as
BAD_REQUEST; what reads but does not fit is UNPROCESSABLE, with one line for each fault.
"""

import json
import math
import re
import types
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from gateway.errors import GatewayError, Kind, unprocessable

T = TypeVar("T")

MOST_PROBLEMS = 100
MOST_LOOKS = 20_000
"""A body of a million faults is not answered with a million lines, nor searched to its end for them."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def decode_body(body: bytes, kind: type[T]) -> T:
    """The body as `kind`. Raises BAD_REQUEST or UNPROCESSABLE."""
    value, whole = _parse(body)
    first = None
    if whole:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            first = str(error)
    raise unprocessable("The body does not fit", misfits(value, kind) or [first or "a number is not finite"])


def misfits(value: Any, kind: type) -> list[str]:
    """Every place where a value does not fit `kind`, one line each that begins with the place."""
    search = _Search()
    search.look(value, kind, "")
    return search.problems


def _parse(body: bytes) -> tuple[Any, bool]:
    """The JSON value, and whether all its numbers are finite. NaN and the like are left for the types to refuse."""
    infinite: list[str] = []

    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            infinite.append(text)
        return value

    try:
        value = json.loads(
            body.decode(), object_pairs_hook=_unique, parse_constant=number, parse_float=number
        )
        if _SURROGATE.search(body):
            _texts(value)
    except RecursionError as error:
        raise GatewayError(Kind.BAD_REQUEST, "The body is nested too deep.") from error
    except UnicodeError as error:
        raise GatewayError(
            Kind.BAD_REQUEST, "The body is not UTF-8, or holds half a surrogate pair."
        ) from error
    except (json.JSONDecodeError, _Refused) as error:
        raise GatewayError(Kind.BAD_REQUEST, f"The body is no JSON: {error}.") from error
    except ValueError as error:
        # Python refuses to read whole numbers of thousands of digits, which takes it more than linear time.
        raise GatewayError(Kind.BAD_REQUEST, "The body holds a number that is too long.") from error
    return value, not infinite


class _Refused(ValueError):
    """JSON that the decoder would take, and this gateway does not."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _Refused(f"the key {name[:100]!a} stands twice in one object")
        found[name] = value
    return found


def _texts(value: Any) -> None:
    """Raises `UnicodeEncodeError` for a text that UTF-8 cannot hold."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict):
        for name, item in value.items():
            name.encode()
            _texts(item)
    elif isinstance(value, list):
        for item in value:
            _texts(item)


class _Search:
    """Goes through a value that does not fit its type, and collects why."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._looks = MOST_LOOKS

    def look(self, value: Any, hint: Any, where: str) -> None:
        """Collect what is wrong with `value` at `where`."""
        self._looks -= 1
        if self._looks < 0 or len(self.problems) >= MOST_PROBLEMS:
            return
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            found = len(self.problems)
            self.look(value, arguments[0], where)
            if len(self.problems) == found:
                self._leaf(value, hint, where)
        elif origin in (Union, types.UnionType):
            others = [each for each in arguments if each is not type(None)]
            if value is not None or len(others) == len(arguments):
                self._one_of(value, hint, others, where)
        elif _is_struct(hint):
            self._object(value, hint, where)
        elif origin is list:
            self._items(value, arguments * len(value) if isinstance(value, list) else (), where)
        elif origin is tuple:
            self._items(value, arguments, where)
        elif origin is dict:
            if self._is(value, dict, "an object", where):
                for name, item in value.items():
                    self.look(item, arguments[1], _step(where, name))
        else:
            self._leaf(value, hint, where)

    def _one_of(self, value: Any, hint: Any, kinds: Sequence[Any], where: str) -> None:
        """As the type that the value is meant to be: an object by what its tag says, a list as a list, a plain value as any of them."""
        tagged = [(tag, kind) for kind in kinds if (tag := _tag(kind)) is not None]
        if isinstance(value, dict) and len(tagged) == len(kinds):
            # msgspec has one field of tags in a union.
            field, tags = tagged[0][0][0], {tag: kind for (_, tag), kind in tagged}
            said = value.get(field)
            if not isinstance(said, str) or said not in tags:
                shown = "" if field not in value else f", is {_shown(said)}"
                self.problems.append(f"{_step(where, field)}: must be one of {', '.join(tags)}{shown}")
                return
            self.look(value, tags[said], where)
            return
        lists = [kind for kind in kinds if get_origin(kind) in (list, tuple)]
        others = [kind for kind in kinds if kind not in lists]
        if isinstance(value, list) and lists:
            self.look(value, lists[0], where)
        elif len(others) > 1 and not any(_is_struct(kind) for kind in others):
            self._leaf(value, hint, where)
        else:
            self.look(value, (others or kinds)[0], where)

    def _object(self, value: Any, kind: type[msgspec.Struct], where: str) -> None:
        if not self._is(value, dict, "an object", where):
            return
        hints = get_type_hints(kind, include_extras=True)
        for name, item in value.items():
            if name in hints:
                self.look(item, hints[name], _step(where, name))
            elif name == kind.__struct_config__.tag_field:
                continue
            elif kind.__struct_config__.forbid_unknown_fields:
                self.problems.append(f"{_step(where, name)}: unknown field; known are {', '.join(hints)}")
        for field in msgspec.structs.fields(kind):
            if field.required and field.name not in value:
                self.problems.append(f"{_step(where, field.name)}: required")

    def _items(self, value: Any, hints: Sequence[Any], where: str) -> None:
        if not self._is(value, list, "a list", where):
            return
        if len(value) != len(hints):
            self.problems.append(f"{_at(where)}must have {len(hints)} items, has {len(value)}")
            return
        for index, (item, hint) in enumerate(zip(value, hints, strict=True)):
            if self._looks < 0:
                return
            self.look(item, hint, f"{where}[{index}]")

    def _is(self, value: Any, kind: type, words: str, where: str) -> bool:
        if not isinstance(value, kind):
            self.problems.append(f"{_at(where)}must be {words}, is {_shown(value)}")
            return False
        return True

    def _leaf(self, value: Any, hint: Any, where: str) -> None:
        if isinstance(value, float) and not math.isfinite(value):
            self.problems.append(f"{_at(where)}must be a number, is {value}")
            return
        try:
            msgspec.convert(value, hint)
        except msgspec.ValidationError as error:
            message = str(error).partition(" - at ")[0]
            self.problems.append(f"{_at(where)}{message[0].lower()}{message[1:]}, is {_shown(value)}")


def _tag(kind: Any) -> tuple[str, str] | None:
    """The field and the value that tell an object of this type from others; None where it has none."""
    config = getattr(kind, "__struct_config__", None)
    return None if config is None or config.tag_field is None else (config.tag_field, str(config.tag))


def _is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _at(where: str) -> str:
    return f"{where}: " if where else ""


def _step(where: str, name: str) -> str:
    return f"{where}.{name[:100]}" if where else name[:100]


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return f"a list of {len(value)}" if isinstance(value, list) else "an object"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"
