"""A scene of the story: an alias retires, its callers hear of it, and its owner sees who they are."""

import time
from typing import Any

from gateway.cli.client import Control
from gateway.cli.demo.cast import Cast
from gateway.cli.demo.stage import Stage, expect
from gateway.cli.output import Refused, moment

ALIAS = "digits-legacy"
_REPORTED_WITHIN_S = 10.0


def an_alias_retires(stage: Stage, cast: Cast) -> None:
    """Told with every reply; who still calls; not deleted from under them."""
    stage.scene("An alias that retires")
    stage.tell(
        f"{ALIAS} is an older name of the same model. It answers, and says with every reply for how long:"
    )
    path = f"/v2/models/{ALIAS}/infer"
    reply = cast.call("app", "POST", path)
    stage.request(
        "app", f"POST {path}", f"{reply.status_code}, served by {reply.headers.get('Maas-Served-By')}"
    )
    expect(reply.is_success, f"{ALIAS} answered {reply.status_code}")
    for name in ("Deprecation", "Sunset", "Link"):
        expect(name in reply.headers, f"the reply has no {name}")
        stage.tell(f"     {name}: {reply.headers[name]}")
    caller = _reported(cast.lead)
    allowed = "may" if caller["may_call_successor"] else "may not"
    stage.request(
        "lead",
        f"maas callers {ALIAS}",
        f"{caller['principal']}, last call {moment(caller['last_at'])}, {allowed} call its successor digits",
    )
    stage.request("lead", f"maas alias delete {ALIAS}", _refused(cast.lead), ok=False)
    stage.tell(
        "Nothing is taken away from under those who still call, unless somebody forces it and says why."
    )


def _reported(lead: Control) -> dict[str, Any]:
    """The storefront among the callers, once the worker has reported it."""
    limit = time.monotonic() + _REPORTED_WITHIN_S
    while True:
        found = lead.get(f"/api/v1/aliases/{ALIAS}/deprecation/callers")["callers"]
        caller: dict[str, Any] | None = next((c for c in found if c["principal"] == "app:storefront"), None)
        if caller is not None:
            return caller
        expect(time.monotonic() < limit, f"nobody knows who called {ALIAS}")
        time.sleep(0.05)


def _refused(lead: Control) -> str:
    """The gateway's words when the lead deletes the alias."""
    _, etag = lead.get_with_etag(f"/api/v1/aliases/{ALIAS}")
    try:
        lead.delete(f"/api/v1/aliases/{ALIAS}", etag)
    except Refused as refused:
        return refused.message
    raise Refused(f"the demo went wrong: {ALIAS} was deleted from under its callers")
