"""ETags and the conditions on them (RFC 9110 section 13), so that nobody overwrites what they have not seen."""

import re

import msgspec

from gateway.errors import GatewayError, Kind

_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')


def etag(revision: int) -> str:
    """The strong validator of a revision."""
    return f'"{revision}"'


class Preconditions(msgspec.Struct, frozen=True):
    """What the caller believes to be there: the raw `If-Match` and `If-None-Match` fields, if any."""

    if_match: str | None = None
    if_none_match: str | None = None

    def check(self, revision: int | None, what: str, *, required: bool = True) -> None:
        """Hold the fields against what is there (`None`: nothing).

        Raises PRECONDITION_FAILED, or PRECONDITION_REQUIRED where something would be overwritten unseen.
        """
        if self.if_none_match is not None and revision is not None:
            tags = _tags(self.if_none_match, "If-None-Match")
            if tags is None or etag(revision) in [tag.removeprefix("W/") for tag in tags]:
                raise GatewayError(Kind.PRECONDITION_FAILED, f"{what} exists already.")
        if self.if_match is not None:
            self._match(revision, what)
        elif revision is not None and required:
            raise GatewayError(
                Kind.PRECONDITION_REQUIRED,
                f"{what} exists; send its current ETag in If-Match, so that no change of another is overwritten.",
            )

    def _match(self, revision: int | None, what: str) -> None:
        tags = _tags(self.if_match or "", "If-Match")
        if revision is None:
            raise GatewayError(Kind.PRECONDITION_FAILED, f"{what} does not exist.")
        # Strong comparison: a weak tag never matches.
        if tags is not None and etag(revision) not in tags:
            raise GatewayError(
                Kind.PRECONDITION_FAILED,
                f"{what} has changed since: its ETag is {etag(revision)}. Read it again and decide anew.",
            )


def _tags(value: str, field: str) -> list[str] | None:
    """The entity tags of a field, or None for `*`."""
    if value.strip() == "*":
        return None
    tags = [tag.strip() for tag in value.split(",")]
    if not all(_TAG.fullmatch(tag) for tag in tags):
        raise GatewayError(Kind.BAD_REQUEST, f'{field} must be * or quoted entity tags, as in "3".')
    return tags
