"""The story that the demo tells: called, refused, compared, canaried, raised, refused again, rolled back, limited, retired."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from gateway.cli.demo.cast import Cast, digit, user_between
from gateway.cli.demo.folder import DemoFile
from gateway.cli.demo.retiring import an_alias_retires
from gateway.cli.demo.search import a_search
from gateway.cli.demo.stage import Stage, expect
from gateway.cli.output import Refused
from gateway.cli.targets import written

_USERS = [f"user-{number}" for number in range(1, 201)]
_V1, _V2 = "digits/1", "digits/2"
# Held-out images: one that every version reads, and one that version 1 reads wrongly and version 2 rightly.
_EASY, _HARD = 5, 349


def tell(stage: Stage, found: DemoFile) -> None:
    """Tell the story with real requests. Raises `Refused` when something does not come true."""
    with Cast(found) as cast:
        _an_alias_answers(stage, cast)
        _strangers(stage, cast)
        _two_versions(stage, cast)
        first = _a_canary(stage, cast)
        _half(stage, cast, first)
        _a_slip(stage, cast)
        _back(stage, cast)
        _a_limit(stage, cast)
        an_alias_retires(stage, cast)
        a_search(stage, cast)
        _what_it_cost(stage, found)


def _an_alias_answers(stage: Stage, cast: Cast) -> None:
    stage.scene("An application calls an alias")
    stage.tell(
        "app:storefront has a key, the name `digits`, and NVIDIA's own tritonclient. It sends this image:"
    )
    shown = digit(_EASY)
    stage.picture(shown.pixels)
    answer = cast.read("app", shown)
    stage.request(
        "app", "infer digits", f"{answer.reads}, {answer.certainty:.0%} sure; served by {answer.served_by}"
    )
    expect((answer.reads, answer.served_by) == (shown.shows, _V1), f"{shown.shows} was read as {answer}")
    stage.tell("Which version answers is the alias's business: every reply names it, no request has to.")


def _strangers(stage: Stage, cast: Cast) -> None:
    stage.scene("Others try")
    infer, path = "/v2/models/digits/infer", "/v2/models/digits"
    no_key = cast.call(None, "POST", infer)
    stage.request("nobody", f"POST {infer}", _answer(no_key), ok=False)
    stranger, nothing = (
        cast.call("stranger", "POST", infer),
        cast.call("stranger", "POST", "/v2/models/no-such/infer"),
    )
    stage.request("stranger", f"POST {infer}", _answer(stranger), ok=False)
    stage.request("stranger", "POST /v2/models/no-such/infer", _answer(nothing), ok=False)
    stage.tell("To a stranger an alias that is not for it looks like one that does not exist.")
    sees, calls = cast.call("sre", "GET", path), cast.call("sre", "POST", infer)
    versions = " and ".join(sees.json().get("versions", []))
    stage.request("sre", f"GET {path}", f"{sees.status_code}, live version {versions}")
    stage.request("sre", f"POST {infer}", _answer(calls), ok=False)
    stage.tell("The SRE may see everything and call nothing.")
    codes = [reply.status_code for reply in (no_key, stranger, nothing, sees, calls)]
    expect(codes == [401, 404, 404, 200, 403], f"the answers were {codes}")


def _two_versions(stage: Stage, cast: Cast) -> None:
    stage.scene("The lead compares two versions")
    stage.tell("user:lead owns the alias and may pin a version. An image that is hard to read:")
    shown = digit(_HARD)
    stage.picture(shown.pixels)
    for version in (1, 2):
        answer = cast.read("lead", shown, version)
        verdict = "right" if answer.reads == shown.shows else f"wrong, it is {shown.shows}"
        stage.request("lead", f"infer digits, pinned to version {version}", f"{answer.reads} ({verdict})")
        expect(
            answer.served_by == f"digits/{version}",
            f"version {version} was asked, {answer.served_by} answered",
        )
    try:
        cast.read("app", shown, 2)
    except Refused as refused:
        stage.request("app", "infer digits, pinned to version 2", refused.message, ok=False)
    else:
        raise Refused("the demo went wrong: an application pinned a version that is not live")


def _a_canary(stage: Stage, cast: Cast) -> dict[str, str]:
    stage.scene("A canary: version 2 gets 10 % of the traffic")
    before = cast.serve(_USERS)
    expect(set(before.values()) == {_V1}, f"before the canary {sorted(set(before.values()))} answered")
    done = cast.set_targets([(1, 9000), (2, 1000)], "first canary")
    stage.request(
        "lead",
        'maas alias set digits digits@1=90% digits@2=10% --reason "first canary"',
        written(done["targets"]),
    )
    seconds = cast.seconds_until(user_between(_USERS, done["salt"], 0, 1000), _V2)
    stage.tell(
        f"Live on the data plane after {seconds * 1000:.0f} ms. 200 users of the storefront call once each:"
    )
    first = cast.serve(_USERS)
    _bars(stage, first)
    again = cast.serve(_USERS)
    expect(first == again, "somebody changed version between two calls")
    stage.tell(
        "They call again, and each of the 200 gets the version that it had: Maas-Routing-Key keeps them there."
    )
    expect(0 < list(first.values()).count(_V2) < 60, "the split is not near 10 %")
    return first


def _half(stage: Stage, cast: Cast, first: dict[str, str]) -> None:
    stage.scene("It looks good: half of the traffic")
    done = cast.set_targets([(1, 5000), (2, 5000)], "no complaints")
    stage.request("lead", "maas alias set digits digits@1=50% digits@2=50%", written(done["targets"]))
    cast.seconds_until(user_between(_USERS, done["salt"], 1000, 5000), _V2)
    now = cast.serve(_USERS)
    _bars(stage, now)
    early = [user for user, served_by in first.items() if served_by == _V2]
    kept = [user for user in early if now[user] == _V2]
    expect(kept == early, "somebody fell off version 2 while its weight rose")
    stage.tell(
        f"All {len(early)} users who were on version 2 are still on it: raising a weight moves nobody back."
    )


def _a_slip(stage: Stage, cast: Cast) -> None:
    stage.scene("A slip of the hand")
    before = cast.lead.get("/api/v1/aliases/digits")
    words = cast.refusal([(1, 9000), (2, 2000)], "slip")
    stage.request("lead", "PUT /api/v1/aliases/digits with 90 % and 20 %", words, ok=False)
    after = cast.lead.get("/api/v1/aliases/digits")
    expect(before == after, "a refused change changed something")
    stage.tell(
        f"Refused as a whole: {written(after['targets'])} goes on, still revision {after['revision']}."
    )


def _back(stage: Stage, cast: Cast) -> None:
    stage.scene("Back again")
    revisions = cast.lead.get("/api/v1/aliases/digits/history")["revisions"]
    steady = next(r["revision"] for r in revisions if r["to"] and written(r["to"]) == "digits@1=100%")
    wish = {"to_revision": steady, "reason": "the demo ends"}
    # Told by somebody who is on version 2 under the salt in force: the rollback brings back an older one.
    salt = cast.lead.get("/api/v1/aliases/digits")["salt"]
    done = cast.lead.post("/api/v1/aliases/digits/rollback", wish)
    stage.request("lead", f"maas alias rollback digits --to {steady}", written(done["targets"]))
    cast.seconds_until(user_between(_USERS, salt, 0, 5000), _V1)
    now = cast.serve(_USERS)
    expect(set(now.values()) == {_V1}, "the rollback did not reach everybody")
    stage.tell(
        "All 200 are on version 1. Who, when, from what, to what and why is kept (maas alias history digits):"
    )
    for r in cast.lead.get("/api/v1/aliases/digits/history")["revisions"][:3]:
        stage.tell(
            f'  {r["revision"]:>3}  {r["by"]}  {r["kind"]:<8}  {written(r["to"] or [])}  "{r["reason"]}"'
        )


def _a_limit(stage: Stage, cast: Cast) -> None:
    stage.scene("Five a minute")
    path = "/v2/models/digits-limited/infer"
    stage.tell(
        "Alias digits-limited has a quota: five requests a minute for each caller, all five at once if they like."
    )
    # The lead calls, so that the application's own five are left for whoever looks around afterwards.
    replies = [cast.call("lead", "POST", path) for _ in range(6)]
    for number, reply in enumerate(replies, start=1):
        if number in (1, 5, 6):
            told = reply.headers.get("RateLimit", "no RateLimit")
            stage.request(
                "lead",
                f"POST {path}, call {number}",
                f"{_answer(reply)}   RateLimit: {told}",
                ok=not reply.is_error,
            )
    codes = [reply.status_code for reply in replies]
    expect(codes == [200] * 5 + [429], f"the answers were {codes}")
    wait_s = int(replies[-1].headers["Retry-After"])
    expect(1 <= wait_s <= 60, f"a caller over its quota was told to wait for {wait_s} s")
    stage.tell(
        f"The sixth is told when to come back: Retry-After: {wait_s}. 429 is the caller's quota; 503 would be ours."
    )


def _what_it_cost(stage: Stage, found: DemoFile) -> None:
    stage.scene("What the gateway itself took")
    half_s, requests = _overhead(httpx.get(f"{found.control_url}/metrics", trust_env=False).text)
    stage.tell(
        f"{requests} requests so far. On half of them it spent less than {half_s * 1e6:.0f} µs for key, policy, split"
    )
    stage.tell(
        f"and metrics; the rest of the time was the model's ({found.control_url}/metrics, for Prometheus)."
    )
    stage.tell(
        "No request asked the control plane or its database: both may be down for hours, inference goes on."
    )


def _overhead(text: str) -> tuple[float, int]:
    """The bucket bound under which half of the requests' own time in the gateway lies, in seconds, and their number."""
    below: dict[float, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "maas_overhead_duration_seconds_bucket":
                bound = float(sample.labels["le"])
                below[bound] = below.get(bound, 0.0) + sample.value
    requests = max(below.values(), default=0.0)
    expect(requests > 0, "the metrics tell of no request")
    return min(bound for bound, count in below.items() if count >= requests / 2), int(requests)


def _answer(reply: httpx.Response) -> str:
    detail = reply.json().get("detail", "") if reply.is_error else ""
    return f"{reply.status_code} {detail}".strip()


def _bars(stage: Stage, served: dict[str, str]) -> None:
    answers = list(served.values())
    stage.bars([(version, answers.count(version)) for version in (_V1, _V2)])
