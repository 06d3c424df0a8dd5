"""How one alias is sampled under one snapshot: which requests, how they are masked, and which versions may be sampled."""

from typing import Literal

from gateway.sampling.choice import Choice
from gateway.sampling.mask import Masks
from gateway.secret import Pseudonyms
from gateway.snapshot.document import SamplingEntry
from gateway.types import WHOLE_BP, Alias, Target
from gateway.upstream.tensors import VersionTensors

Version = tuple[str, int]
Verdict = Literal["ready", "tensors_unknown", "mask_names_no_tensor"]


class Plan:
    """The sampling of an alias. A version is sampled once its tensors are known and every mask rule finds its own."""

    def __init__(self, alias: Alias, entry: SamplingEntry, pseudonyms: Pseudonyms) -> None:
        self.alias = alias
        self.entry = entry
        self.choice = Choice(alias, bytes.fromhex(entry.salt), entry.rate_bp / WHOLE_BP)
        self.masks = Masks(entry.rules, pseudonyms)
        self._verdicts: dict[Version, Verdict] = {}
        self._astray: dict[Version, list[str]] = {}

    def verdict(self, target: Target, known: dict[Version, VersionTensors]) -> Verdict:
        """Whether requests to the target may be sampled. A rule that names no tensor masks nothing, so nothing is kept."""
        version = (target.model, target.version)
        verdict = self._verdicts.get(version)
        if verdict is None:
            tensors = known.get(version)
            if tensors is None:
                return "tensors_unknown"
            self._astray[version] = self.masks.astray(tensors)
            verdict = "mask_names_no_tensor" if self._astray[version] else "ready"
            self._verdicts[version] = verdict
        return verdict

    def problems(self, known: dict[Version, VersionTensors]) -> list[str]:
        """Why targets of the alias are not sampled, in words for whoever set the rules."""
        found: list[str] = []
        for target in self.alias.targets:
            version = f"{target.model}@{target.version}"
            verdict = self.verdict(target, known)
            if verdict == "tensors_unknown":
                found.append(f"{version} has not told its tensors yet, so none of its requests is kept")
            found += [
                f"a mask rule names tensor {name!r}, which {version} does not have; none of its requests is kept"
                for name in self._astray.get((target.model, target.version), ())
            ]
        return found
