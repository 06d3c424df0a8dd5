"""What the doctor looks at of the declared issuers of tokens: whether their keys can be fetched, and how old the last good ones are."""

import asyncio
import time
from collections.abc import Iterator

from gateway.cli.doctor.findings import Finding, broken, ok, warning
from gateway.issuers import Issuer
from gateway.settings import Settings


def look_at_issuers(settings: Settings) -> Iterator[Finding]:
    """One finding for each issuer; none where none is declared."""
    for name, issuer in settings.issuers.items():
        yield _look_at(settings, name, issuer)


def _look_at(settings: Settings, name: str, issuer: Issuer) -> Finding:
    from gateway.tokens.fetch import FetchFailed, fetch_keys
    from gateway.tokens.keys import KeysRefused, read_keys
    from gateway.tokens.last_good import LastGoodKeys

    check = f"issuer {name}"
    todo = (
        f"see that this host reaches {issuer.issuer}, and that [issuers.{name}] says what it says of itself"
    )
    try:
        keys = read_keys(asyncio.run(fetch_keys(issuer)), issuer.algorithms)
        algorithms = sorted({algorithm for _, algorithm in keys.keys})
        return ok(check, f"{issuer.issuer}: {len(keys.ids)} keys, for {', '.join(algorithms)}")
    except (FetchFailed, KeysRefused) as error:
        why = str(error)
    try:
        last = LastGoodKeys(settings.data_dir / "issuers").load(name, issuer)
    except KeysRefused as error:
        why, last = f"{why}; the file of its last good keys {error}", None
    left_s = 0.0 if last is None else last.fetched_at + issuer.keep_s - time.time()
    if left_s <= 0:
        return broken(check, f"{why}; there are no last good keys: its tokens are refused", todo)
    return warning(check, f"{why}; its last good keys go on for {left_s / 3600:.0f} h", todo)
