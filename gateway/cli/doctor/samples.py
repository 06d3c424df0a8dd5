"""What the doctor says of samples: whether their store can be written, and what keeps workers from keeping any."""

import os
from collections.abc import Iterator
from pathlib import Path

from gateway.cli.doctor.asking import shown
from gateway.cli.doctor.findings import Finding, broken, ok, warning
from gateway.settings import Settings
from gateway.snapshot.document import SnapshotDocument

CHECK = "samples"


def look_at_samples(settings: Settings, document: SnapshotDocument | None) -> Iterator[Finding]:
    """Nothing where no alias is sampled. What workers report is known to who has a MAAS_KEY that may see it."""
    sampled = (
        [] if document is None else [alias.name for alias in document.aliases if alias.sampling is not None]
    )
    if not sampled:
        return
    if settings.role != "control":
        yield _store(settings.samples_url)
    problems = [
        (each["alias"], problem["worker"], problem["problem"])
        for each in shown(settings, "/api/v1/samplings", "samplings")
        for problem in each["problems"]
    ]
    for alias, worker, problem in problems:
        yield warning(CHECK, f"alias {alias}, {worker}: {problem}", f"maas sample show {alias}")
    if not problems:
        yield ok(CHECK, f"{len(sampled)} aliases are sampled: {', '.join(sorted(sampled)[:5])}")


def _store(url: str) -> Finding:
    from gateway.sampling.store import Store, scheme_of

    if scheme_of(url) != "file":
        try:
            Store(url)
        except Exception as error:  # noqa: BLE001 - drivers raise errors of their own
            found = f"{url} cannot be opened: {type(error).__name__}: {error}"
            return warning(CHECK, found, "install the store's driver beside maas, as in: pip install s3fs")
        return ok(CHECK, f"{url} has its driver")
    folder = Path(url)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return broken(CHECK, f"{url} cannot be written", f"give {folder} to this user, or set samples.url")
    return ok(CHECK, f"{url} can be written")
