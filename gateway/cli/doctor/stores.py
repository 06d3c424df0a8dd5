"""What the doctor looks at where workers or hosts share a Redis: whether it takes what they ask of it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gateway.cli.doctor.findings import Finding, broken, ok, warning
from gateway.settings import Settings

if TYPE_CHECKING:
    from redis import Redis


def look_at_quota_store(settings: Settings) -> Iterator[Finding]:
    """Where quotas are counted. Without it everybody is served, each worker by its share, so nothing is broken."""
    if settings.role == "control":
        return
    url = settings.quota.redis_url
    if url is None:
        if settings.workers > 1:
            found = f"each of {settings.workers} workers counts its own share of each limit"
            yield ok("quotas", f"{found}; with quota.redis_url they count together")
        return
    from gateway.dataplane.quota.store import SCRIPT

    try:
        where, evicts = _ask(url, SCRIPT)
    except _Refused as refused:
        meanwhile = "each worker counts by its share, hard policies refuse meanwhile"
        yield warning("quotas", f"the Redis at {refused}", refused.todo("quota.redis_url", meanwhile))
        return
    yield ok("quotas", f"are counted in the Redis at {where}")
    yield from _evicting(
        "quotas", where, evicts, "a limit that was used up, a hard one too, would begin anew"
    )


def look_at_sequence_store(settings: Settings) -> Iterator[Finding]:
    """Where it is remembered which server has a sequence. Without it requests of sequences are refused."""
    url = settings.sequences.redis_url
    if settings.role == "control" or url is None:
        return
    from gateway.dataplane.sequences.redis_pins import SCRIPT

    try:
        where, evicts = _ask(url, SCRIPT)
    except _Refused as refused:
        todo = refused.todo("sequences.redis_url", "requests of sequences are refused meanwhile")
        yield broken("sequences", f"the Redis at {refused}", todo)
        return
    yield ok("sequences", f"are remembered in the Redis at {where}")
    yield from _evicting(
        "sequences", where, evicts, "a sequence would go on at a server that does not have it"
    )


class _Refused(Exception):
    """The store cannot be used. `answers`: it is there, but refuses."""

    def __init__(self, why: str, *, answers: bool) -> None:
        super().__init__(why)
        self.answers = answers

    def todo(self, setting: str, meanwhile: str) -> str:
        if self.answers:
            return f"correct the user and password in {setting}, and let that user run scripts"
        return f"start it, or correct {setting}; {meanwhile}"


def _evicting(check: str, where: str, policy: str, lost: str) -> Iterator[Finding]:
    """A server with a bound on its memory that makes room by dropping keys, `policy` says which, drops ours too."""
    if policy:
        found = f"the Redis at {where} drops keys when its memory is full ({policy}): {lost}"
        yield warning(check, found, "set its maxmemory-policy to noeviction, or name a Redis for this alone")


def _ask(url: str, script: str) -> tuple[str, str]:
    """The store without its password, once it has taken the script that is shared by, and by which policy it drops keys;
    empty where it does not, or does not say. Raises `_Refused`.
    """
    from redis import Redis
    from redis.exceptions import AuthenticationError, RedisError, ResponseError

    from gateway.dataplane.quota.store import CONNECT_S, place

    where = place(url)
    client = Redis.from_url(url, protocol=2, socket_connect_timeout=CONNECT_S, socket_timeout=CONNECT_S)
    try:
        client.script_load(script)
        return where, _policy_of(client)
    except (AuthenticationError, ResponseError) as error:
        raise _Refused(f"{where} refuses: {error}", answers=True) from error
    except (RedisError, OSError) as error:
        raise _Refused(f"{where} does not answer: {error}", answers=False) from error
    finally:
        client.close()


def _policy_of(client: "Redis") -> str:
    from redis.exceptions import ResponseError

    try:
        told = client.info("memory")
    except ResponseError:
        # Not every user may ask.
        return ""
    policy = str(told.get("maxmemory_policy", "noeviction"))
    return policy if told.get("maxmemory") and policy != "noeviction" else ""
