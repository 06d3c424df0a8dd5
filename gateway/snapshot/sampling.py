"""What forbids the sampling of an alias; the control plane asks the same before it writes anything."""

import re
from collections import Counter
from collections.abc import Sequence

from gateway.snapshot.document import MaskRule, SamplingEntry
from gateway.snapshot.json_path import parse_path
from gateway.types import WHOLE_BP

MOST_RULES = 200
LONGEST_NAME = 256
ANY_TENSOR = "*"

_HEX_16 = re.compile(r"[0-9a-f]{32}")


def inclusions(rate: float, weights_bp: Sequence[int]) -> list[float]:
    """With which probability a request to each target is chosen, given their weights.

    The largest one is sampled at the rate; the others so much more often that each is expected to give as many samples, up
    to all of its requests. A target without a weight, which is only reached by its number, is sampled at the rate.
    """
    largest = max(weights_bp, default=0)
    return [min(1.0, rate * largest / weight_bp) if weight_bp else rate for weight_bp in weights_bp]


def sampling_problems(what: str, entry: SamplingEntry) -> list[str]:
    """What forbids it, one line each. Whether a tensor exists is not asked here: only its model's server knows."""
    found: list[str] = []
    if not 1 <= entry.rate_bp <= WHOLE_BP:
        found.append(f"{what}: the sampling rate is not between 1 and {WHOLE_BP} basis points")
    if not _HEX_16.fullmatch(entry.salt):
        found.append(f"{what}: the salt of its samples is not 16 bytes of hexadecimal")
    if len(entry.rules) > MOST_RULES:
        return [*found, f"{what}: has more than {MOST_RULES} mask rules"]
    for number, rule in enumerate(entry.rules, 1):
        found += [f"{what}: mask rule {number} {problem}" for problem in _rule_problems(rule)]
    subjects = Counter((rule.tensor, rule.path, rule.detector, rule.part) for rule in entry.rules)
    for (tensor, path, detector, part), count in subjects.items():
        if count > 1:
            named = tensor or path or detector
            where = f" of the {part}" if part else ""
            found.append(f"{what}: {count} mask rules say what is done to {named!r}{where}; one may")
    return found


def _rule_problems(rule: MaskRule) -> list[str]:
    named = [value for value in (rule.tensor, rule.path, rule.detector) if value is not None]
    if len(named) != 1:
        return ["must name exactly one of tensor, path and detector"]
    if rule.optional and rule.tensor in (None, ANY_TENSOR):
        return ["is optional, which only a rule on one tensor can be"]
    if rule.detector is not None and rule.part is not None:
        return ["narrows a detector to a part; detectors look at all kept text"]
    if rule.path is not None:
        try:
            parse_path(rule.path)
        except ValueError as error:
            return [f"has a path that cannot be used: {error}"]
    if rule.tensor is not None and not (1 <= len(rule.tensor) <= LONGEST_NAME and rule.tensor.isprintable()):
        return [f"names a tensor that can be none; a name has 1 to {LONGEST_NAME} printable characters"]
    return []
