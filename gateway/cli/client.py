"""The control plane's API as verbs use it: where it is, who calls, and its refusals in words for people."""

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from gateway.cli.output import Refused

DEFAULT_URL = "http://127.0.0.1:8090"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class NotFound(Refused):
    """What was asked for is not there, or this key may not see it."""


class Control:
    """A session with one control plane. Every method raises `Refused` with one line that says what to do."""

    def __init__(self, url: str, key: str, timeout_s: float = 30.0) -> None:
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Refused(f"MAAS_URL is {url!r}; write the control plane's address, as in {DEFAULT_URL}")
        if not key.isascii() or not key.isprintable() or " " in key:
            raise Refused("MAAS_KEY is no key: it has spaces, line breaks or letters that no key has")
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=timeout_s,
            # A proxy that the environment names cannot reach this machine's own loopback.
            trust_env=parts.hostname not in _LOOPBACK,
        )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The control plane of MAAS_URL with the key of MAAS_KEY."""
        key = environ.get("MAAS_KEY", "").strip()
        if not key:
            raise Refused("MAAS_KEY is not set; export MAAS_KEY=YOUR-KEY (`maas init` printed the first one)")
        return cls(environ.get("MAAS_URL") or DEFAULT_URL, key)

    def get(self, path: str, **params: Any) -> Any:
        """The decoded reply."""
        return self._call("GET", path, params=params)[0]

    def get_with_etag(self, path: str) -> tuple[Any, str]:
        """The decoded reply and its ETag, for a change that must not overwrite somebody else's."""
        reply, etag = self._call("GET", path)
        return reply, etag

    def standing(self, path: str) -> tuple[Any, str | None]:
        """The decoded reply and its ETag; None for both where there is nothing, or nothing for this key to see."""
        try:
            return self.get_with_etag(path)
        except NotFound:
            return None, None

    def put(self, path: str, body: object, etag: str | None = None, **params: Any) -> Any:
        """Make (`etag` None) or overwrite what `etag` was read from."""
        condition = {"If-None-Match": "*"} if etag is None else {"If-Match": etag}
        return self._call("PUT", path, json=body, headers=condition, params=params)[0]

    def post(self, path: str, body: object = None, etag: str | None = None) -> Any:
        """Do something; with `etag`, only if nothing changed since."""
        return self._call("POST", path, json=body, headers={"If-Match": etag} if etag else None)[0]

    def delete(self, path: str, etag: str | None = None, **params: Any) -> Any:
        """Take something away."""
        return self._call("DELETE", path, params=params, headers={"If-Match": etag} if etag else None)[0]

    def _call(self, method: str, path: str, **options: Any) -> tuple[Any, str]:
        try:
            reply = self._http.request(method, path, **options)
        except httpx.ConnectError as error:
            raise Refused(
                f"no control plane answers at {self.url}; start one with `maas serve`, or set MAAS_URL"
            ) from error
        except httpx.TimeoutException as error:
            raise Refused(f"the control plane at {self.url} did not answer in time; try again") from error
        except httpx.HTTPError as error:
            raise Refused(f"the call to {self.url} failed: {error}") from error
        if reply.is_success:
            return _decoded(reply), reply.headers.get("ETag", "")
        raise _refusal(reply)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _decoded(reply: httpx.Response) -> Any:
    if reply.status_code == httpx.codes.NO_CONTENT or not reply.content:
        return None
    try:
        return reply.json()
    except ValueError as error:
        raise Refused(
            f"{reply.url} answered something else than JSON; is MAAS_URL the control port, not the inference port?"
        ) from error


def _refusal(reply: httpx.Response) -> Refused:
    """A refused call in one line: what the problem document says, and what to do where that is clear."""
    try:
        document = reply.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return Refused(
            f"the server at {reply.url.copy_with(path='/')} answered {reply.status_code}, not as maas does"
        )
    detail = str(document.get("detail") or document.get("title") or f"status {reply.status_code}")
    missing = [str(problem) for problem in document.get("problems") or [] if str(problem) not in detail]
    message = "; ".join([detail.rstrip("."), *missing]) if missing else detail
    if reply.status_code == httpx.codes.UNAUTHORIZED:
        return Refused(f"the key in MAAS_KEY is not accepted: {message}")
    if reply.status_code == httpx.codes.PRECONDITION_FAILED:
        return Refused(f"somebody else changed it meanwhile; look again, then repeat ({message})")
    return (NotFound if reply.status_code == httpx.codes.NOT_FOUND else Refused)(message)
