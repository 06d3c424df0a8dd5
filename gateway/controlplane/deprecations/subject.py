"""What retires: an alias, or a version of a model."""

import msgspec

from gateway.controlplane.deprecations import store


class AliasSubject(msgspec.Struct, frozen=True, tag=True):
    """An alias."""

    alias: str

    @property
    def key(self) -> str:
        """How it is named in tables and in the audit: `alias:NAME`."""
        return store.alias_subject(self.alias)

    @property
    def words(self) -> str:
        """How it is named to people: `alias NAME`."""
        return f"alias {self.alias}"

    @property
    def shown(self) -> tuple[str | None, str | None, int | None]:
        """The fields `alias`, `model` and `version` of a view."""
        return self.alias, None, None


class VersionSubject(msgspec.Struct, frozen=True, tag=True):
    """A version of a model."""

    model: str
    version: int

    @property
    def key(self) -> str:
        """How it is named in tables and in the audit: `version:MODEL@V`."""
        return store.version_subject(self.model, self.version)

    @property
    def words(self) -> str:
        """How it is named to people: `version MODEL@V`."""
        return f"version {self.model}@{self.version}"

    @property
    def shown(self) -> tuple[str | None, str | None, int | None]:
        """The fields `alias`, `model` and `version` of a view."""
        return None, self.model, self.version


# Tagged, because a route that takes either must be able to tell them apart.
Subject = AliasSubject | VersionSubject


def subject_of(key: str) -> Subject:
    """The subject of a key that the tables hold."""
    kind, _, name = key.partition(":")
    if kind == "alias":
        return AliasSubject(name)
    model, _, version = name.rpartition("@")
    return VersionSubject(model, int(version))
