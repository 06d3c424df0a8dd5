"""Jinja's sandbox with bounds: on the processor time of one rendering, and on every text that it makes.

Loops, filters, calls and operators look at the clock; each of them alone takes no longer than a text of the largest size
takes. The clock is that of the thread's own computing, so a busy machine refuses nothing.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from jinja2 import Undefined, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from gateway.templates import restrict

MOST_CHARACTERS: Final = 4 * 1024 * 1024
"""In any one text, and in what is rendered."""

MOST_MADE: Final = 16 * MOST_CHARACTERS
"""In all texts of a rendering together, whether they are kept or not."""

MOST_NUMBER: Final = 2**64

MOST_RANGE: Final = 10_000

BUDGET = "the budget of this rendering"
"""The name under which the context holds it; no template can write it."""


class OverBounds(Exception):
    """The rendering takes too much."""


class Raised(Exception):
    """The template itself refuses the messages: `raise_exception`."""


class Budget:
    """So much processor time, in seconds."""

    def __init__(self, limit_s: float) -> None:
        self._until = time.thread_time() + limit_s
        self._made = 0

    def check(self) -> None:
        """Raises `OverBounds` once it is used up."""
        if time.thread_time() > self._until:
            raise OverBounds("it takes too long")

    def text(self, characters: int) -> None:
        """A text of so many characters is about to be made. Raises `OverBounds` for one that is too much."""
        self.check()
        self._made += characters
        if characters > MOST_CHARACTERS or self._made > MOST_MADE:
            raise OverBounds("it makes too much text")


class _Names(Namespace):
    """Jinja's `namespace`, which would write out all that it holds."""

    def __repr__(self) -> str:
        return "namespace"


class Sandbox(ImmutableSandboxedEnvironment):
    """What templates run in, once `restrict` let them through."""

    intercepted_binops = frozenset({"+", "-", "%"})

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, autoescape=False, finalize=_written)
        self.globals = {"namespace": _Names, "range": _range, "raise_exception": _raise}
        self.filters = {name: _checked(self.filters[name]) for name in _AS_IN_JINJA}
        self.filters |= {name: _of_text(getattr(str, method)) for name, method in _TEXT_FILTERS.items()}
        self.filters |= {
            restrict.LOOP: _loop, restrict.SLICE: _slice, restrict.JOIN: _concat,
            "int": _int, "join": _join, "replace": _replace, "string": _string, "tojson": _tojson,
        }  # fmt: skip
        self.tests = {name: self.tests[name] for name in restrict.TESTS}

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """`+` joins texts and lists within bounds; the others are for numbers, so that no format makes a text of any size."""
        budget: Budget = context[BUDGET]
        if isinstance(left, _NUMBERS) and isinstance(right, _NUMBERS):
            budget.check()
            if max(abs(left), abs(right)) > MOST_NUMBER:
                raise OverBounds("it makes a number that is too large")
            return left + right if operator == "+" else left - right if operator == "-" else left % right
        if operator != "+":
            raise OverBounds(f"{operator} is for numbers here")
        if isinstance(left, list) and isinstance(right, list):
            if len(left) + len(right) > MOST_RANGE:
                raise OverBounds(f"it makes a list of more than {MOST_RANGE} items")
        else:
            budget.text(len(left) + len(right))
        return left + right

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 - as in Jinja
        """Call a method or function that `restrict` let through."""
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str) and getattr(__obj, "__name__", "") == "replace":
            return _replace(__context, owner, *args)
        __context[BUDGET].text(len(owner) if isinstance(owner, str) else 0)
        return super().call(__context, __obj, *args, **kwargs)


_NUMBERS = (int, float)
_PLAIN = (str, int, float, Undefined, type(None))
_AS_IN_JINJA = ("count", "d", "default", "first", "items", "last", "length", "list")
_TEXT_FILTERS = {
    "capitalize": "capitalize",
    "lower": "lower",
    "title": "title",
    "trim": "strip",
    "upper": "upper",
}


def _written(value: Any) -> Any:
    """What may be written as it is. A list may hold one text a thousand times."""
    if not isinstance(value, _PLAIN):
        raise OverBounds(f"it writes a {type(value).__name__} where only text and numbers can be; use tojson")
    return value


def _checked(original: Any) -> Any:
    """A filter of Jinja's own that makes nothing larger than what it is given."""
    # Jinja's first argument for a filter that asks for one: the environment, or what belongs to the evaluation.
    wants = getattr(original, "jinja_pass_arg", None)

    @pass_context
    def checked(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        context[BUDGET].check()
        return original(*(() if wants is None else (context.environment,)), value, *args, **kwargs)

    return checked


def _of_text(method: Callable[..., str]) -> Any:
    """A method of texts as a filter."""

    @pass_context
    def of_text(context: Context, value: Any, *args: str) -> str:
        text = str(_written(value))
        context[BUDGET].text(len(text))
        return method(text, *args)

    return of_text


@pass_context
def _loop(context: Context, items: Iterable[Any]) -> Iterator[Any]:
    budget: Budget = context[BUDGET]
    for item in items:
        budget.check()
        yield item


@pass_context
def _slice(context: Context, value: Any, start: Any, stop: Any, step: Any) -> Any:
    context[BUDGET].text(len(value))
    return value[start:stop:step]


@pass_context
def _string(context: Context, value: Any) -> str:
    return _joined(context, [value], "")


@pass_context
def _concat(context: Context, parts: list[Any]) -> str:
    return _joined(context, parts, "")


@pass_context
def _join(context: Context, value: Iterable[Any], d: str = "") -> str:
    return _joined(context, list(value), d)


def _joined(context: Context, parts: list[Any], between: str) -> str:
    texts = [str(_written(part)) for part in parts]
    context[BUDGET].text(sum(map(len, texts)) + len(between) * len(texts))
    return between.join(texts)


@pass_context
def _int(context: Context, value: Any, default: int = 0) -> int:
    context[BUDGET].check()
    try:
        return int(value if isinstance(value, float) else str(_written(value))[:20])
    except (ValueError, OverflowError):
        return default


@pass_context
def _replace(context: Context, text: str, old: str, new: str, count: int = -1) -> str:
    text, old, new = str(_written(text)), str(_written(old)), str(_written(new))
    found = text.count(old)
    context[BUDGET].text(len(text) + found * max(0, len(new) - len(old)))
    return text.replace(old, new, count)


@pass_context
def _tojson(context: Context, value: Any, indent: int | None = None, ensure_ascii: bool = False) -> str:
    """Without the escapes that Jinja's own makes for HTML: a prompt is no page."""
    budget: Budget = context[BUDGET]
    if indent is not None and not 0 <= indent <= 8:
        raise OverBounds("tojson takes an indent of at most 8")
    pieces = []
    for piece in json.JSONEncoder(ensure_ascii=ensure_ascii, indent=indent).iterencode(value):
        budget.text(len(piece))
        pieces.append(piece)
    return "".join(pieces)


def _range(*ends: int) -> range:
    found = range(*ends)
    if len(found) > MOST_RANGE:
        raise OverBounds(f"a range has more than {MOST_RANGE} numbers")
    return found


def _raise(message: object) -> None:
    raise Raised(str(_written(message)))
