"""What is recorded of a model and of each of its versions, in the form that model.yaml, the API and the database share.

A field that is null is not known; an empty list is known to be empty. Texts are kept as they are, markup and all: whoever
shows them escapes them.
"""

from typing import Annotated, Literal

import msgspec

from gateway.artefacts.files import MOST_FILES
from gateway.artefacts.signature import Signature

Risk = Literal["Low", "Medium", "High", "Unknown"]
Relation = Literal[
    "adapter",
    "conversion",
    "distillation",
    "ensemble",
    "fine-tune",
    "merge",
    "pruning",
    "quantization",
    "other",
]
DataUse = Literal["training", "validation", "evaluation"]

Line = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*(?![\s\S])")]
Prose = Annotated[str, msgspec.Meta(max_length=20_000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")]
Sha256 = Annotated[
    str,
    msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}(?![\s\S])", description="sha256: and 64 hexadecimal digits."),
]
Commit = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9a-f]{7,64}(?![\s\S])", description="A commit's hexadecimal hash, 7 digits or more."
    ),
]
Scalar = str | int | float | bool | None
Few = msgspec.Meta(max_length=200)


class Stakeholder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person or group with a part in the model, and how to reach them."""

    person: Line
    role: Line
    contact: Line | None = None


class Dependency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the model needs to run. `version` is a version or a range; `licence` an SPDX expression."""

    name: Line
    version: Line | None = None
    licence: Line | None = None


class ModelDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What people must know of a model, whichever its version. `licence` is an SPDX expression."""

    description: Prose | None = None
    stakeholders: Annotated[list[Stakeholder], Few] | None = None
    licence: Line | None = None
    intended_use: Prose | None = None
    risk: Risk = "Unknown"
    dependencies: Annotated[list[Dependency], Few] | None = None


class BaseModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a version was made from: MODEL@VERSION, or the name of a model that is not registered here."""

    model: Line
    relation: Relation


class DataSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Data that a version was made or measured with."""

    use: DataUse
    name: Line
    digest: Sha256 | None = None
    licence: Line | None = None
    location: Line | None = None


class Code(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The code that made a version; `path` is where it lies in the repository."""

    repository: Line
    commit: Commit | None = None
    path: Line | None = None


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where it ran: the digest of the lock file of its packages, and the version of Python."""

    lock_digest: Sha256 | None = None
    python: Line | None = None


class PipelineRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The run of a pipeline that made a version."""

    id: Line | None = None
    url: Line | None = None


Parameters = Annotated[dict[str, Scalar | list[Scalar]], msgspec.Meta(max_length=500)]


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a version came about, and what it takes and gives."""

    signature: Signature | None = None
    base_models: Annotated[list[BaseModel], Few] | None = None
    data: Annotated[list[DataSet], Few] | None = None
    code: Code | None = None
    environment: Environment | None = None
    hyperparameters: Parameters | None = None
    command: Prose | None = None
    pipeline_run: PipelineRun | None = None


class RecordedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a version: its path within the version's folder, its size and its digest."""

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]*(?![\s\S])")]
    size_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**60)]
    digest: Sha256


class VersionRecord(Origin, frozen=True, forbid_unknown_fields=True):
    """What identifies a version; once known, none of it changes. `files` are all that its digest is over."""

    files: Annotated[list[RecordedFile], msgspec.Meta(max_length=MOST_FILES)] | None = None
