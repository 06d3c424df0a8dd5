"""Adapters over the API: who says how an alias is called by way of the OpenAI API, and what is refused."""

from typing import Any

import pytest

from gateway.snapshot.adapters import GenerateAdapter, TextInputs
from tests.controlplane.harness import Running

GENERATE = {"kind": "generate", "template": "{{ messages[0].content }}", "inputs": {"stop": None}}


def path(alias: str) -> str:
    """Where the adapter of an alias is."""
    return f"/api/v1/aliases/{alias}/adapter"


def published(plane: Running, alias: str) -> Any:
    """The adapter in the snapshot that is served."""
    found = plane.control.publisher.published
    assert found is not None
    return found.snapshot.adapters.get(alias)


def actions(plane: Running, alias: str) -> list[str]:
    """What the audit says was done to the alias, newest first."""
    rows = plane.admin.get("/api/v1/audit?limit=20").json()["rows"]
    return [row["verb"] for row in rows if row["object"] == f"alias:{alias}"]


def test_an_adapter_is_set_shown_changed_and_removed(plane: Running) -> None:
    """It reaches the snapshot, has an ETag of its own, shows what differs from the defaults, and every change is audited."""
    alias = plane.alias()
    assert plane.lead.get(path(alias)).status_code == 404
    made = plane.lead.put(path(alias), json={"adapter": GENERATE, "reason": "for chats"})
    assert (made.status_code, made.headers["ETag"]) == (201, '"1"')
    assert made.json()["adapter"] == GENERATE
    assert plane.lead.get(path(alias)).json() == made.json()
    assert published(plane, alias) == GenerateAdapter(
        template="{{ messages[0].content }}", inputs=TextInputs(stop=None)
    )
    assert plane.lead.put(path(alias), json={"adapter": GENERATE}).json()["revision"] == 1
    embeddings = {"adapter": {"kind": "embeddings"}}
    assert plane.lead.put(path(alias), json=embeddings).status_code == 428
    assert plane.lead.put(path(alias), json=embeddings, headers={"If-Match": '"7"'}).status_code == 412
    changed = plane.lead.put(path(alias), json=embeddings, headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.json()["revision"]) == (200, 2)
    assert plane.lead.delete(path(alias)).status_code == 204
    assert published(plane, alias) is None
    assert plane.lead.get(path(alias)).status_code == 404
    assert actions(plane, alias)[:3] == ["adapter.remove", "adapter.set", "adapter.set"]


def test_who_may_flip_an_alias_says_how_it_is_called(plane: Running) -> None:
    """Who may read it sees that, and others see nothing."""
    alias = plane.alias()
    body = {"adapter": {"kind": "embeddings"}}
    assert plane.as_("user:sre").put(path(alias), json=body).status_code == 403
    assert plane.as_("app:stranger").put(path(alias), json=body).status_code == 404
    assert plane.lead.put(path(alias), json=body).status_code == 201
    assert plane.as_("user:sre").get(path(alias)).status_code == 200
    assert plane.as_("app:stranger").get(path(alias)).status_code == 404


def test_an_alias_takes_its_adapter_with_it(plane: Running) -> None:
    """Who makes one of its name anew says anew how it is called."""
    alias = plane.alias()
    plane.lead.put(path(alias), json={"adapter": {"kind": "embeddings"}}).raise_for_status()
    plane.lead.delete(f"/api/v1/aliases/{alias}", headers={"If-Match": '"1"'}).raise_for_status()
    plane.lead.post(f"/api/v1/aliases/{alias}/rollback").raise_for_status()
    assert plane.lead.get(path(alias)).status_code == 404


@pytest.mark.parametrize(
    ("adapter", "fault"),
    [
        ({"kind": "poems"}, 'adapter.kind: must be one of generate, embeddings, is "poems"'),
        ({"kind": ["generate"]}, "adapter.kind: must be one of generate, embeddings, is a list of 1"),
        ({}, "adapter.kind: must be one of generate, embeddings'"),
        ({"kind": "generate", "temperature": "t"}, "['adapter.temperature: unknown field; known are template"),
        ({"kind": "embeddings", "colour": "red"}, "['adapter.colour: unknown field; known are input, output"),
        ({"kind": "generate", "most_tokens": 0}, "most_tokens"),
        ({"kind": "generate", "most_tokens": 10**9}, "most_tokens"),
        ({"kind": "generate", "default_tokens": 5000}, "default_tokens"),
        ({"kind": "generate", "template": ""}, "template"),
        ({"kind": "generate", "template": "{% if %}"}, "template"),
        ({"kind": "generate", "template": "{% include 'x' %}"}, "template"),
        ({"kind": "generate", "template": "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}"},
         "template"),
        ({"kind": "generate", "inputs": {"text": "a b"}}, "a b"),
        ({"kind": "generate", "inputs": {"text": "seed"}}, "one name"),
        ({"kind": "generate", "fields": {"text_input": "x"}}, "one name"),
        ({"kind": "generate", "fields": {"x": [1]}}, "adapter"),
        ({"kind": "generate", "outputs": {"text": "finish_reason"}}, "one name"),
        ({"kind": "generate", "inputs": {"unknown": "x"}}, "unknown"),
        ({"kind": "embeddings", "rank": 3}, "adapter.rank: "),
        ({"kind": "embeddings", "input": ""}, "input"),
        ({"kind": "embeddings", "tokens": "embedding"}, "one name"),
    ],
)  # fmt: skip
def test_an_adapter_that_cannot_be_used_is_refused(
    plane: Running, adapter: dict[str, Any], fault: str
) -> None:
    """422 with its fault, and nothing changed."""
    alias = plane.alias()
    reply = plane.lead.put(path(alias), json={"adapter": adapter})
    assert reply.status_code == 422, reply.text
    assert fault in str(reply.json()["problems"])
    assert plane.lead.get(path(alias)).status_code == 404
