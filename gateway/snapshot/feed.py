"""How a worker follows its control plane: one long poll after another, the last good snapshot whatever happens."""

import asyncio
import logging
import random
from collections.abc import Callable

import httpx

from gateway.snapshot.compile import Snapshot
from gateway.snapshot.document import SnapshotDocument, SnapshotInvalid, decode
from gateway.snapshot.store import SnapshotStore

log = logging.getLogger(__name__)

POLL_WAIT_S = 20.0
_RETRY_FIRST_S = 0.1
_RETRY_MOST_S = 2.0

PATH = "/api/v1/snapshot"
WORKER_HEADER = "Maas-Worker"


class SnapshotFeed:
    """Polls `control_url` and hands each snapshot that compiles, and is of the same installation, to `activate`.

    `refused` is told about each snapshot that does not or is not. Neither may raise.
    """

    def __init__(
        self,
        control_url: str,
        token: str,
        worker: str,
        store: SnapshotStore,
        compile_document: Callable[[SnapshotDocument], Snapshot],
        activate: Callable[[Snapshot], None],
        refused: Callable[[SnapshotInvalid], None],
    ) -> None:
        self._url = control_url.rstrip("/") + PATH
        self._headers = {"Authorization": f"Bearer {token}", WORKER_HEADER: worker}
        self._store = store
        self._compile = compile_document
        self._activate = activate
        self._refused = refused
        self.version = 0
        self.connected = False
        self._installation = ""
        self._seen = (0, "")

    def start_from_disk(self) -> bool:
        """Activate the newest usable snapshot on disk. False when there is none."""
        for path, found in self._store.candidates():
            if isinstance(found, SnapshotInvalid):
                log.error("the snapshot in %s is not used: %s", path, found)
                self._refused(found)
                continue
            try:
                snapshot = self._compile(found)
            except SnapshotInvalid as error:
                log.error("the snapshot in %s is not used: %s", path, error)
                self._refused(error)
                continue
            self._take(snapshot)
            return True
        return False

    async def run(self) -> None:
        """Poll until cancelled. The control plane may be away for as long as it likes, or talk nonsense."""
        pause_s = _RETRY_FIRST_S
        timeout = httpx.Timeout(5.0, read=POLL_WAIT_S + 10.0)
        tls = self._url.startswith(
            "https:"
        )  # the certificates of all authorities take a worker's start 50 ms to read
        async with httpx.AsyncClient(
            headers=self._headers, timeout=timeout, trust_env=False, verify=tls
        ) as client:
            while True:
                try:
                    await self._poll(client)
                    pause_s = _RETRY_FIRST_S
                    continue
                except (httpx.HTTPError, OSError) as error:
                    if self.connected:
                        log.warning("no control plane; serving snapshot %d: %r", self.version, error)
                    self.connected = False
                except SnapshotInvalid as error:
                    log.error("the control plane's snapshot is not used: %s", error)
                    self._refused(error)
                except Exception as error:  # whatever it is, the next good snapshot must get through
                    log.error("the control plane's snapshot cannot be used", exc_info=error)
                    self._refused(SnapshotInvalid([repr(error)]))
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(_RETRY_MOST_S, pause_s * 2)

    async def _poll(self, client: httpx.AsyncClient) -> None:
        after, installation = self._seen
        # The first answer comes at once: until then nothing is reported.
        wait_s = POLL_WAIT_S if self.connected else 0.0
        reply = await client.get(
            self._url, params={"after": after, "installation": installation, "wait": wait_s}
        )
        reply.raise_for_status()
        if not self.connected:
            log.info("following the control plane at %s", self._url)
        self.connected = True
        if reply.status_code == httpx.codes.NO_CONTENT:
            return
        document = decode(reply.content)
        # A refused version is not asked for again, else a poisoned one would be fetched in a tight loop.
        self._seen = (document.version, document.installation)
        # An empty database in the place of the old one would lock every caller out.
        if self._installation not in ("", document.installation):
            raise SnapshotInvalid(
                [
                    f"snapshot {document.version} belongs to another installation; if the database was replaced on"
                    " purpose, remove DATA/snapshots and restart"
                ]
            )
        snapshot = await asyncio.to_thread(self._compile, document)
        try:
            await asyncio.to_thread(self._store.save, reply.content)
        except OSError as error:
            log.error("the snapshot could not be kept on disk: %s", error)
        self._take(snapshot)

    def _take(self, snapshot: Snapshot) -> None:
        self._activate(snapshot)
        self.version, self._installation = snapshot.version, snapshot.installation
        self._seen = (snapshot.version, snapshot.installation)
