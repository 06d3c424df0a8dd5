"""What the settings say of traces: which requests are traced, and the collector that their spans go to."""

import re
from urllib.parse import unquote

import msgspec

from gateway.addresses import host_problem, split_address

_TRACES_PATH = "/v1/traces"
_FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,127}")


class Traces(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """OpenTelemetry spans over OTLP/HTTP; none without an `endpoint`. `timeout_s` is for one batch, in seconds.

    `sample_ratio` of the requests whose caller keeps no trace are traced; a caller that does has its way. Both up to
    `most_per_s` requests a second. `headers` and `resource` are NAME=VALUE,NAME=VALUE (percent-encoded where need be).
    """

    endpoint: str = ""
    sample_ratio: float = 0.01
    most_per_s: float = 100.0
    service_name: str = "maas"
    resource: str = ""
    headers: str = ""
    timeout_s: float = 10.0

    @property
    def url(self) -> str:
        """Where spans are sent to."""
        base = self.endpoint.rstrip("/")
        return base if base.endswith(_TRACES_PATH) else base + _TRACES_PATH

    @property
    def header_values(self) -> dict[str, str]:
        """The header fields for the collector. Raises `ValueError`."""
        return _named_values(self.headers, _FIELD_NAME)

    @property
    def resource_values(self) -> dict[str, str]:
        """Attributes of this process beside those that it knows itself. Raises `ValueError`."""
        return _named_values(self.resource, _ATTRIBUTE_NAME)


def trace_faults(traces: Traces) -> list[str]:
    """Values that decode and still make no sense."""
    found: list[str] = []
    if traces.endpoint and (problem := _endpoint_problem(traces.endpoint)) is not None:
        found.append(f"traces.endpoint: {problem}; write http://HOST:4318 or the like")
    if traces.sample_ratio > 1:
        found.append(f"traces.sample_ratio: must be a number from 0 to 1, is {traces.sample_ratio}")
    for name, text, names in (
        ("headers", traces.headers, _FIELD_NAME),
        ("resource", traces.resource, _ATTRIBUTE_NAME),
    ):
        try:
            _named_values(text, names)
        except ValueError as error:
            found.append(f"traces.{name}: {error}")
    return found


def _endpoint_problem(url: str) -> str | None:
    parts = split_address(url)
    if isinstance(parts, str):
        return parts
    if parts.scheme not in ("http", "https"):
        return f"has scheme {parts.scheme or 'none'!r}"
    if "?" in url or "#" in url:
        return "has a query or a fragment"
    return host_problem(parts.hostname or "", "[" in parts.netloc)


def _named_values(text: str, names: re.Pattern[str]) -> dict[str, str]:
    """NAME=VALUE,… as OpenTelemetry writes it in variables. Raises `ValueError`, which shows no value."""
    found: dict[str, str] = {}
    for number, part in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        name, sign, value = part.partition("=")
        value = unquote(value.strip())
        if not sign or not names.fullmatch(name.strip()) or not value.isprintable() or not value.isascii():
            raise ValueError(f"part {number} is no NAME=VALUE; percent-encode commas and what is not ASCII")
        found[name.strip()] = value
    return found
