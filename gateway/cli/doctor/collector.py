"""What the doctor looks at in tracing: whether the collector takes spans."""

from collections.abc import Iterator

import httpx

from gateway.cli.doctor.findings import Finding, ok, warning
from gateway.settings import Settings

_CHECK = "traces"
_WITHIN_S = 3.0


def look_at_collector(settings: Settings) -> Iterator[Finding]:
    """Whether the collector takes a request without spans, which is a valid one: its message is empty."""
    traces = settings.traces
    if not traces.endpoint or settings.role == "control":
        return
    headers = traces.header_values | {"Content-Type": "application/x-protobuf"}
    try:
        with (
            httpx.Client(timeout=_WITHIN_S, trust_env=False) as client,
            client.stream("POST", traces.url, content=b"", headers=headers) as reply,
        ):
            status = reply.status_code
    except httpx.HTTPError as error:
        found = f"the collector does not answer at {traces.url}: {error}"
        yield warning(_CHECK, found, "start it, or correct traces.endpoint; spans are dropped meanwhile")
        return
    if reply.is_success:
        yield ok(_CHECK, f"the collector at {traces.url} takes spans")
    elif status in (401, 403):
        yield warning(_CHECK, f"the collector at {traces.url} answers {status}", "correct traces.headers")
    else:
        found = f"the collector at {traces.url} answers {status}"
        yield warning(_CHECK, found, "traces.endpoint must take OTLP over HTTP, mostly on port 4318")
