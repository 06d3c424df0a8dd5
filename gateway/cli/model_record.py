"""`maas model show`: a model's and a version's record as people read it."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.cli.breaking import breaking_words
from gateway.cli.output import moment, say, table

Shown = Mapping[str, Any]
_UNKNOWN = "not known"


def show_model(found: Shown) -> None:
    """A model, what is said of it, and its versions."""
    say(f"{found['name']} of team {found['team']}, served by pool {found['pool']}")
    _description(found["description"])
    say()
    table(
        ("version", "digest", "registered", "by", "record", "breaks"),
        [
            (
                v["version"],
                v["digest"],
                moment(v["created_at"]),
                v["created_by"],
                "yes" if v["recorded"] else _UNKNOWN,
                ", ".join(str(n) for each in v["breaking"] for n in each["versions"]),
            )
            for v in found["versions"]
        ],
        empty="It has no versions.",
    )
    for version in found["versions"]:
        for line in (*_changed(found["name"], version), *breaking_words(found["name"], version)):
            say(line)


def show_version(found: Shown) -> None:
    """One version: what is said of its model, and everything that identifies it."""
    version, record = found["version"], found["record"] or {}
    say(f"{found['model']}@{version['version']} of team {found['team']}, served by pool {found['pool']}")
    say(f"digest: {version['digest']}")
    say(f"registered: {moment(version['created_at'])} by {version['created_by']}")
    for line in (*_changed(found["model"], version), *breaking_words(found["model"], version)):
        say(line)
    _description(found["description"])
    _signature(record.get("signature"))
    _origin(record)
    _rows("files", record.get("files"), ("path", "size_bytes", "digest"))


def _changed(model: str, version: Shown) -> list[str]:
    hosts = ", ".join(version["hosts_with_other_files"])
    words = (
        f"{model}@{version['version']} has other files than were registered, at {hosts}: see `maas doctor`"
    )
    return [words] if hosts else []


def _description(said: Shown | None) -> None:
    said = said or {}
    _prose("description", said.get("description"))
    _prose("intended use", said.get("intended_use"))
    say(f"licence: {said.get('licence') or _UNKNOWN}")
    say(f"risk: {said.get('risk') or 'Unknown'}")
    _rows("stakeholders", said.get("stakeholders"), ("person", "role", "contact"))
    _rows("dependencies", said.get("dependencies"), ("name", "version", "licence"))


def _signature(signature: Shown | None) -> None:
    if signature is None:
        say(f"signature: {_UNKNOWN}")
        return
    rows = [
        (
            side,
            each["name"],
            each["datatype"],
            f"[{','.join(map(str, each['shape']))}]",
            "optional" if each.get("optional") else "",
        )
        for side in ("inputs", "outputs")
        for each in signature[side]
    ]
    say()
    table(("signature", "name", "datatype", "shape", ""), [(row[0][:-1], *row[1:]) for row in rows])


def _origin(record: Shown) -> None:
    code, environment = record.get("code") or {}, record.get("environment") or {}
    run = record.get("pipeline_run") or {}
    _rows("base models", record.get("base_models"), ("model", "relation"))
    _rows("data", record.get("data"), ("use", "name", "digest", "licence", "location"))
    commit = code.get("commit")
    say(f"code: {_joined(', ', code.get('repository'), code.get('path'), commit and f'commit {commit}')}")
    lock, python = environment.get("lock_digest"), environment.get("python")
    say(f"environment: {_joined(', ', python and f'Python {python}', lock and f'lock file {lock}')}")
    parameters = record.get("hyperparameters")
    words = None if parameters is None else ", ".join(f"{k}={v}" for k, v in parameters.items()) or "none"
    say(f"hyper-parameters: {words or _UNKNOWN}")
    _prose("command", record.get("command"))
    say(f"pipeline run: {_joined(' ', run.get('id'), run.get('url'))}")


def _rows(what: str, rows: Sequence[Shown] | None, columns: Sequence[str]) -> None:
    if not rows:
        say(f"{what}: {_UNKNOWN if rows is None else 'none'}")
        return
    say()
    heads = (what, *(name.replace("_", " ") for name in columns[1:]))
    table(heads, [[row.get(name) for name in columns] for row in rows])


def _prose(what: str, text: str | None) -> None:
    lines = (text or "").strip().splitlines() or [_UNKNOWN]
    say(f"{what}: {lines[0]}")
    for line in lines[1:]:
        say(f"  {line}")


def _joined(between: str, *parts: str | None) -> str:
    return between.join(part for part in parts if part) or _UNKNOWN
