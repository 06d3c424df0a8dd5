"""What the doctor looks at where hosts share sequences: whether the Redis that says where they are takes what is asked of it."""

from collections.abc import Iterator

from gateway.cli.doctor.findings import Finding, broken, ok
from gateway.settings import Settings

_CHECK = "sequences"


def look_at_sequence_store(settings: Settings) -> Iterator[Finding]:
    """Whether it can be used. Without it requests of sequences are refused."""
    url = settings.sequences.redis_url
    if settings.role == "control" or url is None:
        return
    from gateway.dataplane.quota.probe import StoreRefused, ask_store
    from gateway.dataplane.sequences.redis_pins import SCRIPT

    try:
        yield ok(_CHECK, f"are remembered in the Redis at {ask_store(url, SCRIPT)}")
    except StoreRefused as refused:
        todo = (
            "correct the user and password in sequences.redis_url, and let that user run scripts"
            if refused.answers
            else "start it, or correct sequences.redis_url; requests of sequences are refused meanwhile"
        )
        yield broken(_CHECK, f"the Redis at {refused}", todo)
