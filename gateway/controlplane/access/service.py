"""The first key of an installation, for whoever may log in to the machine."""

from datetime import UTC, datetime

from gateway.controlplane.access import keys, store
from gateway.controlplane.change import SETTINGS_ACTOR, Change, write_change
from gateway.db.session import Database
from gateway.secret import KEY_PURPOSE, derive

ADMIN = "user:admin"


def create_first_admin(database_url: str, secret: bytes) -> str | None:
    """The text of a fresh key for `user:admin`; None when it has one that is neither revoked nor expired.

    Makes the tables where there are none. Raises UNAVAILABLE without a database, `ValueError` for a URL that is none.
    """
    database = Database(database_url)

    def verb(change: Change) -> str | None:
        if store.usable_keys(change.session, datetime.now(UTC), ADMIN):
            return None
        digest_key = derive(secret, KEY_PURPOSE)
        return keys.new_key(change, ADMIN, digest_key, expires_at=None, note="the first key")[0].text

    try:
        database.upgrade()
        return write_change(database, SETTINGS_ACTOR, "init", verb)[0]
    finally:
        database.close()
