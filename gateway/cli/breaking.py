"""A breaking change of a signature in words: what differs, whom it would break, what to do."""

from collections.abc import Mapping
from typing import Any

_LAST_DAYS = 8
"""Those that the API counts callers by."""

_MOST_NAMED = 10


def breaking_words(model: str, version: Mapping[str, Any]) -> list[str]:
    """The lines about a version of the API, none where it breaks nothing."""
    lines = []
    for each in version["breaking"]:
        numbers = ", ".join(map(str, each["versions"]))
        earlier = f"version{'s' if len(each['versions']) > 1 else ''} {numbers}"
        lines.append(
            f"{model}@{version['version']} breaks callers of {earlier}: {'; '.join(each['differences'])}"
        )
    if not lines:
        return []
    return [*lines, _callers(version)]


def _callers(version: Mapping[str, Any]) -> str:
    callers = version["callers"]
    if callers is None:
        return "who they are is for the model's team to know"
    if not callers:
        return f"nobody called those versions within {_LAST_DAYS} days"
    named = [
        f"{each['principal']} ({each['calls']} calls through {', '.join(each['aliases'])})"
        for each in callers[:_MOST_NAMED]
    ]
    more = f" and {len(callers) - _MOST_NAMED} more" if len(callers) > _MOST_NAMED else ""
    return (
        f"it would break {', '.join(named)}{more}: give it an alias of its own and announce the end of the old one "
        "(`maas deprecate`), or have them change first"
    )
