"""`model.yaml`, the file beside a model that says what its record holds."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec

from gateway.artefacts.faults import description_problems, origin_problems
from gateway.artefacts.files import read_bounded
from gateway.artefacts.record import ModelDescription, Origin
from gateway.artefacts.signature import Signature
from gateway.cli.registering.yaml_file import MOST_BYTES, YamlRefused, read_yaml
from gateway.strict_json import misfits
from gateway.types import MAX_VERSION, VERSION

MODEL_FILE = "model.yaml"

_PLACE = re.compile(r"[^:\s]+(?=: )")


class ModelFileRefused(Exception):
    """A model file with faults; `problems` has one line for each, with its place."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class _Written(ModelDescription, frozen=True, forbid_unknown_fields=True, kw_only=True):
    signature: Signature | None = None
    versions: Annotated[dict[str, Origin], msgspec.Meta(max_length=1000)] = msgspec.field(
        default_factory=dict
    )


class ModelFile(msgspec.Struct, frozen=True):
    """What a model file says: of the model, and of each version that it names.

    A version without a signature of its own has the one of the file, `signature`, if there is any.
    """

    description: ModelDescription
    signature: Signature | None
    versions: dict[int, Origin]

    def origin(self, version: int) -> Origin:
        """What is known of a version."""
        origin = self.versions.get(version, Origin())
        if origin.signature is not None:
            return origin
        return msgspec.structs.replace(origin, signature=self.signature)


def read_model_file(path: Path) -> ModelFile:
    """The model file. Raises `ModelFileRefused` with all that is wrong, `ArtefactRefused` where it cannot be read."""
    try:
        document = read_yaml(read_bounded(path, MOST_BYTES))
    except YamlRefused as error:
        raise ModelFileRefused([f"{path.name}: {error}"]) from error
    value = {} if document.value is None else document.value
    problems = misfits(value, _Written)
    if not problems:
        try:
            written = msgspec.convert(value, _Written)
        except msgspec.ValidationError as error:
            raise ModelFileRefused([f"{path.name}: {error}"]) from error
        problems = _faults(written)
        if not problems:
            return _model_file(written)
    raise ModelFileRefused([_placed(path.name, document.line_of, problem) for problem in problems])


def _faults(written: _Written) -> list[str]:
    found = description_problems(written)
    if written.signature is not None:
        found += origin_problems(Origin(signature=written.signature))
    for number, origin in written.versions.items():
        if not VERSION.fullmatch(number) or int(number) > MAX_VERSION:
            found.append(f"versions.{number}: is no version: a whole number from 1 on, without leading zeros")
        found += origin_problems(origin, f"versions.{number}.")
    return found


def _model_file(written: _Written) -> ModelFile:
    names = ModelDescription.__struct_fields__
    description = ModelDescription(**{name: getattr(written, name) for name in names})
    versions = {int(number): origin for number, origin in written.versions.items()}
    return ModelFile(description, written.signature, versions)


def _placed(file: str, line_of: Callable[[str], int], problem: str) -> str:
    place = _PLACE.match(problem)
    return f"{file} line {line_of(place[0] if place else '')}: {problem}"
