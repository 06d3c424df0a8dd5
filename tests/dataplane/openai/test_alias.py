"""What holds of an alias holds of its calls in OpenAI's words: its split, its samples, its revoked keys, its limits."""

import json
from pathlib import Path

import msgspec

from gateway.snapshot.adapters import GenerateAdapter
from gateway.snapshot.document import MaskRule, SamplingEntry, SnapshotDocument, decode, encode
from tests.dataplane.openai.scene import adapted, pieces, says, stream_to
from tests.dataplane.raw import CREDENTIAL, RawClient, ask, chunked, request, until_answered
from tests.dataplane.upstream import Talk, Upstream
from tests.faults.control import FakeControl
from tests.gateway_process import changed, document, running, wait_for, with_adapters
from tests.sampling.scene import rows

COMPLETIONS = "/v1/completions"


def asks(alias: str, **fields: object) -> bytes:
    """A completion."""
    return json.dumps({"model": alias, "prompt": "p", **fields}).encode()


def test_the_same_caller_lands_on_the_same_version_over_both_apis(upstream: Upstream, tmp_path: Path) -> None:
    """Users whom `Maas-Routing-Key` names are split by weight, and where they are does not depend on how they call."""
    upstream.behave = lambda talk: talk.answer(body=says("x"))
    with running(tmp_path, with_adapters(document(upstream.url), split=GenerateAdapter())) as gateway:
        until_answered(gateway.address)
        versions = set()
        for user in range(20):
            key = b"Maas-Routing-Key: user-%d\r\n" % user
            here = ask(gateway.address, request(COMPLETIONS, asks("split"), headers=key))
            there = ask(gateway.address, request("/v2/models/split/generate", headers=key))
            assert here.header("Maas-Served-By") == there.header("Maas-Served-By")
            versions.add(here.header("Maas-Served-By"))
        assert versions == {"m/1", "m/2"}


def test_a_key_that_is_revoked_ends_its_streams(upstream: Upstream, tmp_path: Path) -> None:
    """The last event says why, and the connection ends with it."""

    def behave(talk: Talk) -> None:
        stream_to(talk, pieces("a"), whole=False)
        talk.until_closed(30)

    upstream.behave = behave
    found, control = adapted(upstream.url), FakeControl()
    control.publish(encode(found), found.version)
    with running(tmp_path, found, CONTROL__URL=control.url) as gateway:
        ready = request("/v2/models/a/ready", method="GET")
        upstream.behave = Talk.answer
        wait_for(lambda: ask(gateway.address, ready).status == 200, 10, "the endpoint")
        upstream.behave = behave
        with RawClient(gateway.address, timeout_s=20) as caller:
            caller.send(request(COMPLETIONS, asks("text", stream=True)))
            assert caller.head()[0] == 200
            control.publish(encode(changed(found, version=2, keys=found.keys[1:])), 2)
            told = b""
            while not told.endswith(b"\r\n0\r\n\r\n"):
                told += caller.read(1)
            assert (
                b'event: error\ndata: {"error":{"message":"The credential has expired or been revoked' in told
            )
            assert caller.ended()
    control.close()


def test_a_body_that_grows_too_large_is_refused_and_told_once(upstream: Upstream, tmp_path: Path) -> None:
    """In chunks, beyond the limit of the settings; and one that drips is too slow."""
    with running(
        tmp_path, adapted(upstream.url), INFERENCE__MAX_BODY_BYTES=100_000, INFERENCE__HEAD_TIMEOUT_S=1
    ) as gateway:
        until_answered(gateway.address)
        head = f"POST {COMPLETIONS} HTTP/1.1\r\nHost: g\r\n".encode() + CREDENTIAL
        with RawClient(gateway.address) as caller:
            caller.send(
                head,
                b"Transfer-Encoding: chunked\r\n\r\n",
                *(chunked(b"x" * 40_000, last=b"") for _ in range(3)),
            )
            large = caller.reply()
        with RawClient(gateway.address, timeout_s=20) as caller:
            caller.send(head, b"Content-Length: 90000\r\n\r\n", b"x" * 40_000)
            slow = caller.reply()
        assert (large.status, slow.status) == (413, 408)
        ids = [large.header("X-Request-Id"), slow.header("X-Request-Id")]
        wait_for(lambda: {line["request_id"] for line in gateway.access_log()} >= set(ids), 10, "the lines")
        lines = [line for line in gateway.access_log() if line["request_id"] in ids]
        assert [(line["protocol"], line["status"]) for line in lines] == [("openai", 413), ("openai", 408)]
        for reply in (large, slow):
            assert json.loads(reply.body)["error"]["type"] == "invalid_request_error"


def test_samples_hold_what_the_model_was_asked_and_what_it_said(upstream: Upstream, tmp_path: Path) -> None:
    """In the model's own words, masked by the rules of generate calls; also of a stream."""

    def behave(talk: Talk) -> None:
        if talk.method == b"GET":
            talk.answer(body=b'{"name": "m", "inputs": [], "outputs": []}')
        elif talk.path.endswith(b"stream"):
            stream_to(talk, pieces("Sure, ", "Jo", "."))
        else:
            talk.answer(body=says("Sure."))

    rules = tuple(MaskRule("keep", path=path) for path in ("$.text_input", "$.text_output"))
    sampling = SamplingEntry(10_000, "00" * 16, rules)
    found = adapted(upstream.url)
    aliases = [msgspec.structs.replace(alias, sampling=sampling) for alias in found.aliases]
    upstream.behave = behave
    with running(tmp_path, changed(found, aliases=tuple(aliases)), SAMPLES__FILE_S=0.2) as gateway:
        ready = request("/v2/models/a/ready", method="GET")
        wait_for(lambda: ask(gateway.address, ready).status == 200, 10, "the endpoint")

        def kept() -> set[tuple[str, str, str, str]]:
            for stream in (False, True):
                ask(gateway.address, request(COMPLETIONS, asks("text", prompt="I am Jo", stream=stream)))
            return {
                (row["protocol"], row["operation"], row["request_json"], row["reply_json"])
                for row in rows(tmp_path / "samples")
            }

        asked = '{"text_input": "I am Jo"}'
        wanted = {
            ("openai", "generate", asked, '{"text_output": "Sure."}'),
            ("openai", "generate_stream", asked, '{"text_output": "Sure, Jo."}'),
        }
        wait_for(lambda: kept() >= wanted, 20, "both samples")


def test_snapshots_from_before_there_were_adapters_load() -> None:
    """What is on a worker's disk is read by the next release."""
    found = msgspec.json.decode(msgspec.json.encode(document()))
    for alias in found["aliases"]:
        del alias["adapter"]
    old = msgspec.convert(found, SnapshotDocument)
    assert decode(encode(old)) == old
    assert {alias.adapter for alias in old.aliases} == {None}
