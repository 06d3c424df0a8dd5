"""The metrics that the guides name are those that a process has."""

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from gateway.observe.metrics import render

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_every_metric_that_a_guide_names_is_there() -> None:
    """Nobody builds a dashboard or an alert on a name that was changed."""
    known = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in text_string_to_metric_families(render()[0].decode())
    }
    named = {
        (path.name, name)
        for path in DOCS.glob("*.md")
        for name in re.findall(r"`(maas_[a-z_]+)(?:\{[a-z,]+\})?`", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 25
    assert {(path, name) for path, name in named if name not in known} == set()
