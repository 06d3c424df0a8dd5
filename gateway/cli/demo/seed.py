"""What stands in the demo: models, a pool, aliases, a quota, an end and keys, all through the API. Seeding twice is harmless."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from gateway.cli.client import Control, NotFound
from gateway.cli.demo.ports import Ports
from gateway.cli.output import Refused
from gateway.cli.registering.command import registration
from gateway.cli.registering.folder import read_model_folder

TEAM = "vision"
POOL = "demo"
MODEL = "digits"
ALIASES = ("digits", "digits-legacy", "digits-limited")
BESIDE = ("tiny-lm", "minilm")
"""Models that have no part in the story, each with an alias of its own name, where they are built and the engine has them."""
ADAPTERS: Mapping[str, dict[str, Any]] = {
    # It reads one line, and knows no chats.
    "tiny-lm": {"kind": "generate", "template": "{{ messages[-1].content }}"},
    "minilm": {"kind": "embeddings", "tokens": "tokens"},
}
"""How the OpenAI API calls those of them that it can call."""
PRINCIPALS = {
    "app": "app:storefront",
    "stranger": "app:stranger",
    "lead": "user:lead",
    "approver": "user:approver",
    "sre": "user:sre",
    "admin": "user:admin",
}
LIMITED = {
    "alias": "digits-limited",
    "application": "*",
    "limits": [{"name": "minute", "quota": 5, "window_s": 60}],
    "reason": "the demo begins",
}
_LEGACY_FOR = timedelta(days=90)
_LIVE_WITHIN_S = 20.0
_POLL_S = 0.02


def seed(control: Control, model_repository: Path, pool: dict[str, object], beside: Sequence[str]) -> None:
    """The pool, the models, the aliases and the quota, each as the story begins."""
    _put(control, f"/api/v1/pools/{POOL}", pool)
    for model in (MODEL, *beside):
        folder = read_model_folder(model_repository / model)
        known, _ = control.standing(f"/api/v1/models/{model}")
        body = registration(control, folder, known)
        _put(control, f"/api/v1/models/{model}", {"team": TEAM, "pool": POOL, **body})
    for name, model in [*((alias, MODEL) for alias in ALIASES), *zip(beside, beside, strict=True)]:
        targets = [{"model": model, "version": 1, "weight": 10_000}]
        _put(
            control,
            f"/api/v1/aliases/{name}",
            {"team": TEAM, "targets": targets, "reason": "the demo begins"},
        )
        if name in ADAPTERS:
            _put(control, f"/api/v1/aliases/{name}/adapter", {"adapter": ADAPTERS[name]})
    _put(control, "/api/v1/quotas/digits-limited", LIMITED)
    _announce_end(control)


def make_keys(control: Control, known: Mapping[str, str]) -> dict[str, str]:
    """A key for each principal of the demo; `known` ones are kept as long as they work."""
    return {name: _working_key(control, principal, known.get(name)) for name, principal in PRINCIPALS.items()}


def key_works(url: str, key: str | None, principal: str) -> bool:
    """Whether the control plane knows `key` as the principal's."""
    if not key:
        return False
    try:
        with Control(url, key) as control:
            return bool(control.get("/api/v1/whoami")["principal"] == principal)
    except Refused:
        return False


def wait_until_live(ports: Ports, app_key: str, beside: Sequence[str]) -> None:
    """Wait until the data plane knows the app's key and serves every alias. Raises `Refused` after a while."""
    limit = time.monotonic() + _LIVE_WITHIN_S
    waiting = [*ALIASES, *beside]
    headers = {"Authorization": f"Bearer {app_key}"}
    with httpx.Client(base_url=ports.inference_url, headers=headers, timeout=5.0, trust_env=False) as http:
        while waiting:
            reply = http.get(f"/v2/models/{waiting[0]}/ready")
            if reply.is_success:
                waiting.pop(0)
            elif time.monotonic() > limit:
                raise Refused(
                    f"the data plane does not serve alias {waiting[0]}: {reply.status_code} {reply.text}"
                )
            else:
                time.sleep(_POLL_S)


def _announce_end(control: Control) -> None:
    """`digits-legacy` retires; a date that a run before this one has set stays, unless it has passed."""
    path, etag = "/api/v1/aliases/digits-legacy/deprecation", None
    try:
        standing, etag = control.get_with_etag(path)
    except NotFound:
        standing = None
    if standing is not None and standing["status"] == "deprecated" and standing["sunset_at"]:
        return
    sunset = (datetime.now(UTC) + _LEGACY_FOR).replace(hour=23, minute=59, second=59)
    end = {"sunset_at": sunset.isoformat(), "successor": "digits", "reason": "one name is enough"}
    control.put(path, end, etag)


def _put(control: Control, path: str, wanted: dict[str, Any]) -> None:
    """Make it, or overwrite what stands there. An alias's team does not change, so it is named only at its making."""
    try:
        _, etag = control.get_with_etag(path)
    except NotFound:
        control.put(path, wanted)
    else:
        control.put(path, wanted, etag)


def _working_key(control: Control, principal: str, known: str | None) -> str:
    if known is not None and key_works(control.url, known, principal):
        return known
    return str(control.post("/api/v1/keys", {"principal": principal, "note": "demo"})["key"])
