"""What is done to the tensors of a sample before it is kept. Whatever no rule speaks of: numbers stay, text goes."""

import math
from typing import TYPE_CHECKING, Any

from gateway.sampling import checksums
from gateway.sampling.content import Tensor
from gateway.sampling.documents import DocumentMask
from gateway.sampling.logged import LoggedText
from gateway.sampling.row import KeptTensor
from gateway.sampling.texts import Allowance, TextMask
from gateway.secret import Pseudonyms
from gateway.snapshot.document import MaskAction, MaskRule, Part
from gateway.snapshot.json_path import Step, parse_path
from gateway.snapshot.sampling import ANY_TENSOR
from gateway.upstream.tensors import VersionTensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_HASHED = 1024
_LEAST_CARD = 10**14


class Masks:
    """The mask rules of one alias, ready for use."""

    def __init__(self, rules: tuple[MaskRule, ...], pseudonyms: Pseudonyms) -> None:
        self._rules = rules
        self._pseudonyms = pseudonyms
        self._tensors = {(rule.tensor, rule.part): rule.action for rule in rules if rule.tensor is not None}
        self._logged = LoggedText(pseudonyms)
        self._text = TextMask({rule.detector: rule.action for rule in rules if rule.detector}, pseudonyms)
        self.documents: dict[Part, DocumentMask] = {
            part: DocumentMask(self._paths(part, with_tensors=False), pseudonyms)
            for part in ("request", "reply")
        }
        self.generated: dict[Part, DocumentMask] = {
            part: DocumentMask(self._paths(part, with_tensors=True), pseudonyms)
            for part in ("request", "reply")
        }

    def allowance(self) -> Allowance:
        """A fresh one, for one sample."""
        return Allowance(self._text)

    def request_id(self, request_id: str) -> str:
        """The id, or its pseudonym where a caller has made one of what a detector finds."""
        return self._logged.request_id(request_id)

    def astray(self, known: VersionTensors) -> list[str]:
        """The tensors that rules name and the version does not have: such a rule would mask nothing."""
        names: dict[Part | None, set[str]] = {
            "request": {spec.name for spec in known.inputs},
            "reply": {spec.name for spec in known.outputs},
        }
        names[None] = names["request"] | names["reply"]
        return [
            rule.tensor
            for rule in self._rules
            if rule.tensor not in (None, ANY_TENSOR) and not rule.optional and rule.tensor not in names[rule.part]
        ]  # fmt: skip

    def tensor(self, part: Part, tensor: Tensor, allowance: Allowance) -> KeptTensor | None:
        """The tensor as it is kept; None where a rule drops it."""
        action = self._action(part, tensor.name)
        if action == "drop":
            return None
        kept = KeptTensor(tensor.name, tensor.datatype, tensor.shape)
        if action == "redact":
            return _with(kept, masked="redacted")
        if action == "hash":
            return self._hashed(kept, tensor)
        if tensor.numbers is not None:
            values, without_cards = _without_cards(tensor.numbers)
            return _with(kept, values=values.tobytes(), masked="found" if without_cards else None)
        if action is None:
            return _with(kept, lengths=tensor.lengths, masked="text")
        texts = tuple(None if text is None else allowance.keep(text) for text in tensor.texts or ())
        return _with(
            kept,
            texts=texts,
            lengths=tensor.lengths,
            masked=None if texts == tuple(tensor.texts or ()) else "found",
        )

    def _action(self, part: Part, name: str) -> MaskAction | None:
        for key in ((name, part), (name, None), (ANY_TENSOR, part), (ANY_TENSOR, None)):
            if key in self._tensors:
                return self._tensors[key]
        return None

    def _hashed(self, kept: KeptTensor, tensor: Tensor) -> KeptTensor:
        elements: list[Any] = tensor.texts or [] if tensor.numbers is None else tensor.numbers.tolist()
        if len(elements) > _MOST_HASHED:
            return _with(kept, masked="redacted")
        texts = tuple(None if each is None else self._pseudonyms.of(str(each)) for each in elements)
        return _with(kept, texts=texts, masked="hashed")

    def _paths(self, part: Part, *, with_tensors: bool) -> list[tuple[tuple[Step, ...], MaskAction]]:
        """The rules on JSON. Of the generate extension, each member of the document is the tensor of its name."""
        found: list[tuple[tuple[Step, ...], MaskAction]] = []
        for wanted in (None, part):
            rules = [rule for rule in self._rules if rule.part == wanted]
            if with_tensors:
                named = [rule for rule in rules if rule.tensor not in (None, ANY_TENSOR)]
                found += [((rule.tensor,), rule.action) for rule in named]
            found += [(parse_path(rule.path), rule.action) for rule in rules if rule.path is not None]
        return found


def _with(kept: KeptTensor, **fields: Any) -> KeptTensor:
    return KeptTensor(kept.name, kept.datatype, kept.shape, **fields)


def _without_cards(numbers: "NDArray[Any]") -> "tuple[NDArray[Any], bool]":
    """The numbers as float64, and whether one was a card's, which is not a number any more.

    Fewer than 15 digits are no issuer's card, and 32 bits cannot hold one: a batch of pixels is passed at once.
    """
    values = numbers.astype("<f8")
    if numbers.dtype.itemsize < 8 or not numbers.size:
        return values, False
    if numbers.max() < _LEAST_CARD and numbers.min() > -_LEAST_CARD:
        return values, False
    found = False
    for place, number in enumerate(numbers.reshape(-1).tolist()):
        large = math.isfinite(number) and abs(number) >= _LEAST_CARD and number == int(number)
        if large and checksums.issued_card(str(abs(int(number)))):
            values.flat[place] = math.nan
            found = True
    return values, found
