"""What the doctor looks at in the control plane: database, API, published snapshot, workers, and the snapshot on disk."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from gateway.cli.doctor.findings import Finding, broken, ok, warning
from gateway.errors import GatewayError
from gateway.policy.rows import decider
from gateway.secret import load_secret, worker_token
from gateway.settings import Settings, SettingsError
from gateway.snapshot.compile import compile_snapshot
from gateway.snapshot.document import SnapshotDocument, SnapshotInvalid, decode
from gateway.snapshot.feed import PATH
from gateway.snapshot.store import SnapshotStore

_CLOCK_OFF_S = 5.0
_FOLLOWS_WITHIN_S = 2.0


def look_at_database(settings: Settings) -> Iterator[Finding]:
    """Whether the database answers, has this release's tables, and agrees on the time."""
    if settings.role == "data":
        return
    url = settings.database_url
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        yield warning("database", "there is none yet", "`maas init` or `maas serve` makes it")
        return
    from gateway.db import session

    try:
        database = session.Database(url)
    except ValueError as error:
        yield broken("database", str(error), "correct database.url")
        return
    try:
        with database.reading() as reading:
            connection = reading.connection()
            revision = None
            if connection.dialect.has_table(connection, "alembic_version"):
                revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            now = connection.exec_driver_sql("SELECT CURRENT_TIMESTAMP").scalar()
    except GatewayError as error:
        yield broken(
            "database", error.detail, "start it, or correct database.url; inference goes on meanwhile"
        )
        return
    finally:
        database.close()
    newest = newest_migration(Path(session.__file__).parent / "migrations" / "versions")
    if revision is None:
        yield warning("database", "answers, and has no tables yet", "`maas init` or `maas serve` makes them")
    elif revision == newest:
        yield ok("database", f"answers, with this release's tables ({newest})")
    elif str(revision) < newest:
        yield warning(
            "database",
            f"its tables are of release step {revision}, {newest} is current",
            "start `maas serve` once",
        )
    else:
        yield broken(
            "database",
            f"its tables ({revision}) are newer than this release ({newest})",
            "run the newer maas",
        )
    if isinstance(now, datetime):
        yield _clock("the database", abs((now.astimezone(UTC) - datetime.now(UTC)).total_seconds()))


def newest_migration(folder: Path) -> str:
    """The last step of the tables; each step's file begins with its number."""
    return max(path.name.partition("_")[0] for path in folder.glob("[0-9]*.py"))


def look_at_control_plane(settings: Settings) -> Iterator[Finding]:
    """Whether the control plane answers, can make changes, and agrees on the time."""
    url = settings.control_url
    try:
        reply = httpx.get(f"{url}/health/ready", timeout=5.0, trust_env=False)
        document = reply.json()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        todo = (
            "inference goes on from the last good snapshot, changes do not: start it, or correct control.url"
            if settings.role == "data"
            else "start it: maas serve"
        )
        yield warning("control plane", f"does not answer at {url}: {error}", todo)
        return
    except ValueError:
        yield broken("control plane", f"{url} is something else", "correct control.url")
        return
    if reply.status_code == httpx.codes.OK:
        yield ok("control plane", f"ready at {url}, published snapshot {document.get('snapshot')}")
    else:
        yield broken(
            "control plane",
            f"at {url} is not ready: the database {document.get('database')}, snapshot {document.get('snapshot')}",
            "see the findings on the database and the workers, and the control plane's log",
        )
    for trouble in (document.get("workers") or {}).get("troubles", ()):
        yield broken("workers", trouble, "it is started less and less often until it stays")
    if document.get("refused"):
        yield broken(
            "control plane",
            f"state {document['refused']['version']} of the database was refused; the snapshot before it is still served",
            "its log says why; roll the last change back",
        )
    if "Date" in reply.headers:
        then = parsedate_to_datetime(reply.headers["Date"])
        yield _clock("the control plane", abs((then - datetime.now(UTC)).total_seconds()))


def published(settings: Settings) -> SnapshotDocument | Finding | None:
    """The published snapshot, as a worker of this host gets it; a finding where that fails; None without control plane."""
    if settings.secret is None and not (settings.data_dir / "secret").exists():
        return None
    try:
        token = worker_token(load_secret(settings))
        reply = httpx.get(
            settings.control_url + PATH,
            headers={"Authorization": f"Bearer {token}"},
            timeout=5.0,
            trust_env=False,
        )
    except (httpx.HTTPError, httpx.InvalidURL, OSError, SettingsError):
        return None
    if reply.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return broken(
            "snapshot",
            f"the control plane at {settings.control_url} does not know this host's secret",
            "give every host the same secret (the setting `secret`, or the file of that name in the data folder)",
        )
    if reply.status_code != httpx.codes.OK:
        return None
    try:
        return decode(reply.content)
    except SnapshotInvalid as error:
        return broken(
            "snapshot", f"the published one cannot be read: {error}", "run the same release everywhere"
        )


def look_at_snapshot(
    settings: Settings, newest: SnapshotDocument | None
) -> tuple[list[Finding], SnapshotDocument | None]:
    """The last good snapshot on disk, held against the published one; and the one that this host can serve from."""
    if settings.role == "control":
        return [], newest
    store = SnapshotStore(settings.data_dir / "snapshots")
    limit = time.monotonic() + _FOLLOWS_WITHIN_S
    while True:
        findings, usable = _on_disk(store)
        foreign = newest is not None and usable is not None and usable.installation != newest.installation
        behind = newest is not None and usable is not None and usable.version < newest.version
        if foreign or not behind or time.monotonic() > limit:
            break
        time.sleep(0.1)
    if usable is None:
        if newest is None:
            findings.append(
                broken("snapshot", "none on disk, none published", "start the control plane: maas serve")
            )
        else:
            findings.append(
                warning("snapshot", "none on disk yet", "start `maas serve`: it keeps the published one")
            )
        return findings, newest
    age = f"{(time.time() - usable.created_at) / 3600:.1f} h old"
    if newest is None:
        findings.append(
            ok("snapshot", f"{usable.version} on disk, {age}; what is published is not known here")
        )
    elif foreign:
        found = f"{usable.version} on disk is of another installation than the published {newest.version}"
        todo = (
            "bring the old database back; or, if it was replaced on purpose, remove"
            f" {settings.data_dir / 'snapshots'} and restart"
        )
        findings.append(broken("snapshot", found, todo))
    elif behind:
        todo = "if the gateway runs, its log says why it does not follow; else start `maas serve`"
        findings.append(warning("snapshot", f"{usable.version} on disk, {newest.version} is published", todo))
    else:
        findings.append(ok("snapshot", f"{usable.version} on disk, as published, {age}"))
    return findings, newest or usable


def _on_disk(store: SnapshotStore) -> tuple[list[Finding], SnapshotDocument | None]:
    """What is wrong with the snapshots on disk, and the newest one that can be served."""
    findings: list[Finding] = []
    for path, found in store.candidates():
        try:
            if isinstance(found, SnapshotInvalid):
                raise found
            compile_snapshot(found, decider)
        except SnapshotInvalid as error:
            todo = "start `maas serve` with a control plane: it writes a good one"
            findings.append(warning("snapshot", f"{path} is not usable: {error}", todo))
        else:
            return findings, found
    return findings, None


def _clock(whose: str, off_s: float) -> Finding:
    if off_s > _CLOCK_OFF_S:
        found = f"{off_s:.0f} s away from that of {whose}"
        return warning("clock", found, "run NTP on both hosts: keys expire and changes are dated by it")
    return ok("clock", f"agrees with that of {whose}")
