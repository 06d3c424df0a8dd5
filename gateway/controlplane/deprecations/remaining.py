"""Whom an end would cut off now."""

from datetime import datetime, timedelta

import msgspec
from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from gateway.controlplane import owned
from gateway.controlplane.deprecations import store
from gateway.controlplane.deprecations.subject import AliasSubject, Subject, VersionSubject

REMAINS_DAYS = 8
"""Who called within so many days would be cut off by an end now: a weekly job that is a little late still counts."""


class Remaining(msgspec.Struct, frozen=True):
    """A principal that an end now would cut off: its calls of the last days, and the last one."""

    principal: str
    calls: int
    last_at: datetime


def remaining_callers(session: Session, subject: Subject, now: datetime) -> list[Remaining]:
    """Whom an end at `now` would cut off, the latest caller first.

    From a version: who named it, or comes through an alias that sends traffic there; not who came through an alias that
    has moved on since.
    """
    which = usage_of(subject)
    if isinstance(subject, VersionSubject):
        through = owned.aliases_of_version(session, subject.model, subject.version)
        which = store.calls_that_need(subject.model, subject.version, through)
    found = store.callers_since(session, which, now - timedelta(days=REMAINS_DAYS))
    return [Remaining(*row) for row in found]


def usage_of(subject: Subject) -> ColumnElement[bool]:
    """The usage of an alias, or of a version through whichever alias."""
    if isinstance(subject, AliasSubject):
        return store.calls_of_alias(subject.alias)
    return store.calls_of_version(subject.model, subject.version)
