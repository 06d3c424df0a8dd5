"""Reads a YAML file as plain data with the line of each thing in it: scalars, lists and maps with text keys, no more.

Anchors, aliases, tags, merges and several documents are refused: what a file says stands in it once, in plain sight, and
no file of a kilobyte unfolds to a gigabyte. Of plain scalars only null, true, false and numbers are no texts.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import yaml

MOST_BYTES = 256 * 1024
MOST_NODES = 20_000
MOST_DEEP = 20

_NUMBER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_DECIMAL = re.compile(
    r"[-+]?(?:[0-9]{1,40}\.[0-9]{0,40}|\.[0-9]{1,40}|[0-9]{1,40}(?=[eE]))(?:[eE][-+]?[0-9]{1,3})?", re.ASCII
)
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlRefused(Exception):
    """What is no such YAML, and where, in one line."""


class Document(msgspec.Struct, frozen=True):
    """The data, and the line of each thing by its path: `versions.1.data[0].name`."""

    value: Any
    lines: dict[str, int]

    def line_of(self, path: str) -> int:
        """The line of the thing at a path, or of the nearest thing around it that is there."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path, 1)


def read_yaml(content: bytes) -> Document:
    """The one document of a file. Raises `YamlRefused`."""
    lines: dict[str, int] = {}
    try:
        events = yaml.parse(content, Loader=_LOADER)
        value = _Reader(events, lines).document()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise YamlRefused(f"line {line}: {error.problem or error.context}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise YamlRefused(f"it is no YAML in UTF-8: {' '.join(str(error).split())}") from error
    return Document(value, lines)


class _Reader:
    def __init__(self, events: Iterator[Any], lines: dict[str, int]) -> None:
        self._events = events
        self._lines = lines
        self._left = MOST_NODES

    def document(self) -> Any:
        value: Any = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise YamlRefused(f"{_at(event)}a second document begins; write one")
            elif isinstance(event, yaml.NodeEvent):
                value = self._node(event, "", 0)
        return value

    def _node(self, event: Any, path: str, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise YamlRefused(f"{_at(event)}more than {MOST_NODES} things are in it")
        if depth > MOST_DEEP:
            raise YamlRefused(f"{_at(event)}it is nested deeper than {MOST_DEEP} levels")
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise YamlRefused(f"{_at(event)}anchors and aliases (& and *) are not read; write it out")
        if event.tag is not None:
            raise YamlRefused(f"{_at(event)}tags (!) are not read")
        self._lines[path] = event.start_mark.line + 1
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(path, depth)
        return self._map(path, depth)

    def _list(self, path: str, depth: int) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.append(self._node(event, f"{path}[{len(found)}]", depth + 1))
        return found

    def _map(self, path: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent) or event.anchor is not None or event.tag is not None:
                raise YamlRefused(f"{_at(event)}a key must be a plain text")
            name = event.value
            if name in found:
                raise YamlRefused(f"{_at(event)}the key {name[:100]!a} stands twice")
            inner = f"{path}.{name}" if path else name
            found[name] = self._node(next(self._events), inner, depth + 1)
            self._lines[inner] = event.start_mark.line + 1
        return found


def _at(event: Any) -> str:
    return f"line {event.start_mark.line + 1}: "


def _scalar(event: Any) -> Any:
    text: str = event.value
    if not event.implicit[0]:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _NUMBER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text
