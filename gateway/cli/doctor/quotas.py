"""What the doctor says of quotas: which are not kept as they are written by the workers that serve now."""

from collections.abc import Iterator

from gateway.cli.doctor.asking import shown
from gateway.cli.doctor.findings import Finding, warning
from gateway.settings import Settings


def look_at_quotas(settings: Settings) -> Iterator[Finding]:
    """As far as a MAAS_KEY may see them."""
    for quota in shown(settings, "/api/v1/quotas", "quotas"):
        for problem in quota["problems"]:
            yield warning("quotas", f"{quota['name']} is not kept as it is written", problem)
