"""Asks once whether a Redis that workers share could be used, for somebody who wants to know."""

from gateway.dataplane.quota.store import CONNECT_S, SCRIPT, place


class StoreRefused(Exception):
    """The store cannot be used. `answers`: it is there, but refuses."""

    def __init__(self, why: str, *, answers: bool) -> None:
        super().__init__(why)
        self.answers = answers


def ask_store(url: str, script: str = SCRIPT) -> str:
    """The store without its password, once it has taken the script that workers share by; by default that of quotas.

    Raises `StoreRefused`.
    """
    from redis import Redis
    from redis.exceptions import AuthenticationError, RedisError, ResponseError

    where = place(url)
    client = Redis.from_url(url, protocol=2, socket_connect_timeout=CONNECT_S, socket_timeout=CONNECT_S)
    try:
        client.script_load(script)
    except (AuthenticationError, ResponseError) as error:
        raise StoreRefused(f"{where} refuses: {error}", answers=True) from error
    except (RedisError, OSError) as error:
        raise StoreRefused(f"{where} does not answer: {error}", answers=False) from error
    finally:
        client.close()
    return where
