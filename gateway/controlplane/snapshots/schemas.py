"""What is said about the published snapshot."""

import msgspec


class RefusalView(msgspec.Struct, frozen=True):
    """A state of the database that was not published, and every reason. `at` is Unix seconds."""

    version: int
    at: float
    problems: list[str]


class SnapshotStatus(msgspec.Struct, frozen=True):
    """The published version (0: none yet), when its change was made, and what was refused since."""

    version: int
    created_at: float | None
    refused: RefusalView | None
