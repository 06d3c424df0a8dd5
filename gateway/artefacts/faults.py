"""What a record may not say although its types fit, one line each, with its place."""

import math
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from gateway.artefacts.record import ModelDescription, Origin, VersionRecord
from gateway.artefacts.signature import signature_problems


def description_problems(description: ModelDescription, where: str = "") -> list[str]:
    """The faults of what is said of a model; `where` is its place, with a dot behind it."""
    found = list(_licence(description.licence, f"{where}licence"))
    for index, each in enumerate(description.dependencies or ()):
        found += _licence(each.licence, f"{where}dependencies[{index}].licence")
    return found


def origin_problems(origin: Origin, where: str = "") -> list[str]:
    """The faults of what is said of a version's origin and signature."""
    found: list[str] = []
    if origin.signature is not None:
        found += signature_problems(origin.signature, f"{where}signature")
    found += _twice([each.model for each in origin.base_models or ()], f"{where}base_models", "model")
    for index, each in enumerate(origin.data or ()):
        found += _licence(each.licence, f"{where}data[{index}].licence")
    for name, value in (origin.hyperparameters or {}).items():
        numbers = value if isinstance(value, list) else [value]
        if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
            found.append(f"{where}hyperparameters.{name[:100]}: must be finite")
    run = origin.pipeline_run
    if run is not None and run.url is not None and not _is_web_address(run.url):
        found.append(f"{where}pipeline_run.url: {run.url!r} is no http or https address")
    if run is not None and run.url is None and run.id is None:
        found.append(f"{where}pipeline_run: give its id, its url, or both")
    return found


def record_problems(record: VersionRecord, where: str = "") -> list[str]:
    """The faults of a version's whole record, its files' paths among it."""
    found = origin_problems(record, where)
    paths = [each.path for each in record.files or ()]
    for index, path in enumerate(paths):
        steps = path.split("/")
        if path.startswith("/") or any(step in ("", ".", "..") for step in steps):
            found.append(f"{where}files[{index}].path: {path!r} is no path within the version's folder")
    return found + list(_twice(paths, f"{where}files", "path"))


def canonical_licence(licence: str | None) -> str | None:
    """An SPDX expression in its canonical form. Raises `InvalidLicenseExpression`."""
    return None if licence is None else str(canonicalize_license_expression(licence))


def _licence(licence: str | None, where: str) -> Iterator[str]:
    try:
        canonical_licence(licence)
    except InvalidLicenseExpression:
        yield (
            f"{where}: {licence!r} is no SPDX licence (spdx.org/licenses), nor an expression of them; "
            "one of your own is LicenseRef-NAME"
        )


def _twice(names: Iterable[str], where: str, field: str) -> Iterator[str]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield f"{where}[{index}].{field}: {name!r} stands twice"
        seen.add(name)


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and " " not in text
