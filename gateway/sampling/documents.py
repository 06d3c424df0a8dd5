"""JSON of a sample: only what a rule names by its path is kept, whatever else a caller may have put there."""

import json
import math
from typing import Any

from gateway.sampling.content import NotKept
from gateway.sampling.texts import Allowance
from gateway.secret import Pseudonyms
from gateway.snapshot.document import MaskAction
from gateway.snapshot.json_path import Step

REDACTED = "[redacted]"
_ABSENT = object()
_SHORT_NUMBER = 1_000_000


class _Node:
    """One place in a document, with the rule on it, if there is one."""

    __slots__ = ("action", "children")

    def __init__(self) -> None:
        self.action: MaskAction | None = None
        self.children: dict[Step, _Node] = {}

    def below(self, *steps: Step) -> "list[_Node]":
        return [self.children[step] for step in steps if step in self.children]


class DocumentMask:
    """Masks documents by rules on paths. The longest path that leads to a value decides; a member's own name or number
    goes before `[*]`. `keep` holds for all that lies below; what another action leaves is one value.
    """

    def __init__(self, rules: list[tuple[tuple[Step, ...], MaskAction]], pseudonyms: Pseudonyms) -> None:
        self._root = _Node()
        self._pseudonyms = pseudonyms
        for steps, action in rules:
            node = self._root
            for step in steps:
                node = node.children.setdefault(step, _Node())
            node.action = action

    def text(self, document: dict[str, Any], allowance: Allowance) -> str | None:
        """What of the document is kept, as JSON; None: nothing. Raises `NotKept` for one that is nested too deeply."""
        if not self._root.children and self._root.action is None:
            return None
        try:
            masked = self._masked(document, [self._root], False, allowance)
            return None if masked is _ABSENT else json.dumps(masked, ensure_ascii=False)
        except RecursionError as error:
            raise NotKept("unreadable") from error

    def _masked(self, value: Any, nodes: list[_Node], kept: bool, allowance: Allowance) -> Any:
        action: MaskAction | None = next((node.action for node in nodes if node.action is not None), None)
        keep = action == "keep" or (kept and action is None)
        deeper = any(node.children for node in nodes)
        if isinstance(value, dict) and (deeper or keep):
            return self._object(value, nodes, keep, allowance)
        if isinstance(value, list) and (deeper or keep):
            return self._array(value, nodes, keep, allowance)
        if keep:
            return _leaf(value, allowance)
        if action == "redact":
            return REDACTED
        if action == "hash":
            return self._pseudonyms.of(value if isinstance(value, str) else json.dumps(value, sort_keys=True))
        return _ABSENT

    def _object(self, value: dict[str, Any], nodes: list[_Node], keep: bool, allowance: Allowance) -> Any:
        masked: dict[str, Any] = {}
        for key, member in value.items():
            below = [child for node in nodes for child in node.below(key)]
            found = self._masked(member, below, keep, allowance) if below or keep else _ABSENT
            # A name that a rule writes is the rule's; any other is the caller's text.
            name = key if below or found is _ABSENT else allowance.keep(key)
            if found is not _ABSENT and name is not None:
                masked[name] = found
        return masked if masked or keep else _ABSENT

    def _array(self, value: list[Any], nodes: list[_Node], keep: bool, allowance: Allowance) -> Any:
        masked: list[Any] = []
        for number, element in enumerate(value):
            below = [child for node in nodes for child in node.below(number, None)]
            found = self._masked(element, below, keep, allowance) if below or keep else _ABSENT
            if found is not _ABSENT:
                masked.append(found)
        return masked if masked or keep else _ABSENT


def _leaf(value: Any, allowance: Allowance) -> Any:
    if isinstance(value, str):
        text = allowance.keep(value)
        return _ABSENT if text is None else text
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bool) or value is None or abs(value) < _SHORT_NUMBER:
        return value
    whole = int(value)
    if whole != value:
        return value
    # A number may be a phone's or a card's as well as text may.
    text = allowance.keep(str(whole))
    return value if text == str(whole) else _ABSENT if text is None else text
