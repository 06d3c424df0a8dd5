"""Personal data planted wherever a caller or a model's server can write something is kept nowhere, over HTTP and over gRPC."""

import contextlib
import gzip
import json
import re
import signal
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import msgspec
import pytest
from tritonclient.grpc import service_pb2

from gateway.snapshot.document import MaskRule, SnapshotDocument
from gateway.wire import written
from loadtests.processes import free_port
from tests.dataplane.grpc.conftest import SERVICE, Asked, Client, RpcServer, streamed
from tests.dataplane.upstream import Upstream
from tests.gateway_process import APP, Gateway, running
from tests.sampling.rpc_scene import over_grpc, until_sampled
from tests.sampling.scene import model, reply, request, rows, sampled, tensor, wait_for_rows
from tests.sampling.test_gateway import IMAGE, QUICK, ready
from tests.sampling.test_reading import strings

pytestmark = pytest.mark.slow

PLANTED = {
    "email": "jane.roe@mail.example",
    "phone": "+49 170 5551234",
    "card": "4012 8888 8888 1881",
    "iban": "DE89 3704 0044 0532 0130 00",
    "ip": "198.51.100.23",
    "ssn": "219-09-9999",
    "nino": "QQ123456C".replace("QQ", "AB"),
    "tax": "86095742719",
    "name": "Rumpelstilz",
}
"""What is planted; the name is nothing that a detector could know."""

TEXT = " and ".join(PLANTED.values())


def strict_and_loose(url: str) -> SnapshotDocument:
    """Alias `a` is sampled without a rule, `split` with rules that keep every text."""
    everything = (MaskRule("keep", tensor="*"), MaskRule("keep", path="$"))
    found = sampled(url, aliases=("a",))
    loose = sampled(url, *everything, aliases=("split",))
    aliases = tuple(
        loose.aliases[n] if alias.name == "split" else alias for n, alias in enumerate(found.aliases)
    )
    return msgspec.structs.replace(found, aliases=aliases)


def assert_nowhere(gateway: Gateway, folder: Path, calls: int) -> None:
    """So many calls were sampled, and what was planted is neither in a sample, nor in any file of the data folder, nor in a
    metric. Where rules keep every text, only the name is left, and only in what they keep.
    """
    wait_for_rows(folder / "samples", calls)
    metrics = httpx.get(f"http://127.0.0.1:{gateway.ops_port}/metrics", timeout=60).text
    gateway.signal(signal.SIGTERM)
    gateway.wait(20)
    samples = rows(folder / "samples")
    assert len(samples) >= calls
    strict = repr([row for row in samples if row["alias"] == "a"])
    kept = repr([row for row in samples if row["alias"] == "split"])
    elsewhere = {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "alias=split" not in str(path)
    }
    assert len(elsewhere) > 3
    for kind, value in PLANTED.items():
        for form in {value, value.replace(" ", ""), value.replace("-", ""), json.dumps(value)[1:-1]}:
            planted = re.compile(re.escape(form.encode()))
            if form.isdigit():
                # Within a longer id, time or figure such digits are nobody's, and come by chance.
                planted = re.compile(rb"(?<![0-9a-f.])" + planted.pattern + rb"(?![0-9a-f])")
            assert not planted.search(strict.encode()), kind
            assert not planted.search(metrics.encode()), kind
            assert [path for path, data in elsewhere.items() if planted.search(data)] == [], kind
            assert bool(planted.search(kept.encode())) == (kind == "name"), kind
    assert "[card]" in kept
    assert "[email]" in kept


def test_planted_personal_data_is_nowhere(
    upstream: Upstream, caller: Callable[[Gateway], httpx.Client], tmp_path: Path
) -> None:
    """In texts, names, parameters, ids, queries, routing keys, wrong and compressed bodies, and in what the model's server
    answers, over all operations.
    """
    with running(tmp_path, strict_and_loose(upstream.url), LOGS__LEVEL="debug", **QUICK) as gateway:
        client = caller(gateway)
        ready(gateway, client, tmp_path / "samples")
        calls = 0
        for alias in ("a", "split"):
            for answer, status in (
                (reply(tensor("label", "BYTES", TEXT), parameters={"who": TEXT}), 200),
                (json.dumps({"error": TEXT}).encode(), 400),
                (json.dumps({"error": TEXT}).encode(), 500),
            ):
                upstream.behave = model(answer, status)
                for body in (
                    request(
                        IMAGE, tensor("text", "BYTES", TEXT), id=TEXT, parameters={"note": TEXT, TEXT: 1}
                    ),
                    request(IMAGE, {"name": TEXT, "datatype": "BYTES", "shape": [1], "data": [TEXT]}),
                    request(tensor("number", "INT64", 4012888888881881)),
                    request({"name": "image", "datatype": TEXT, "shape": [1, 2], "data": [TEXT]}),
                    TEXT.encode(),
                    b'{"inputs": "' + TEXT.encode(),
                ):
                    for path, coded in (("infer", False), ("infer", True), ("generate", False)):
                        client.post(
                            f"/v2/models/{alias}/{path}",
                            params={"note": PLANTED["name"]},
                            content=gzip.compress(body) if coded else body,
                            headers={
                                "Maas-Routing-Key": PLANTED["card"],
                                "X-Note": PLANTED["name"],
                                **({"Content-Encoding": "gzip"} if coded else {}),
                            },
                        )
                        calls += 1
            upstream.behave = model(
                b"".join(b"data: " + json.dumps({"text_output": piece}).encode() + b"\n\n" for piece in (TEXT[:7], TEXT[7:])),
                200, b"Content-Type: text/event-stream",
            )  # fmt: skip
            client.post(f"/v2/models/{alias}/generate_stream", json={"text_input": TEXT})
            calls += 1
        assert_nowhere(gateway, tmp_path, calls)


def rpc_requests(alias: str) -> Iterator[bytes]:
    """Requests with something planted in each place, in each form of a tensor."""
    whole = service_pb2.ModelInferRequest(model_name=alias, id=TEXT)
    whole.parameters["note"].string_param = TEXT
    whole.parameters[TEXT].int64_param = 1
    text = whole.inputs.add(name="text", datatype="BYTES", shape=[1])
    text.parameters["note"].string_param = TEXT
    whole.outputs.add(name=TEXT)
    text.contents.bytes_contents.append(TEXT.encode())
    typed = whole.SerializeToString()
    yield typed
    yield typed + written(7, strings(TEXT.encode()))  # the raw one counts
    yield typed + written(900, TEXT)
    yield typed + written(7, TEXT)
    number = service_pb2.ModelInferRequest(model_name=alias)
    number.inputs.add(name="number", datatype="INT64", shape=[1]).contents.int64_contents.append(
        4012888888881881
    )
    yield number.SerializeToString()
    for field in ("name", "datatype"):
        wrong = service_pb2.ModelInferRequest(model_name=alias)
        wrong.inputs.add(**{"name": "image", "datatype": "FP32", "shape": [1, 2], field: TEXT})
        yield wrong.SerializeToString() + written(7, struct.pack("<2f", 1, 2))
    # These are no messages, and come to no target.
    yield TEXT.encode()
    yield typed[:-7]


def answered(pieces: tuple[str, ...]) -> Iterator[bytes]:
    """Replies that hold a text in pieces, one each, beside what may stand there."""
    for piece in pieces:
        made = service_pb2.ModelInferResponse(model_name="m", model_version="1", id=TEXT)
        made.parameters["who"].string_param = TEXT
        made.outputs.add(name="label", datatype="BYTES", shape=[1])
        made.raw_output_contents.append(strings(piece.encode()))
        yield bytes(made.SerializeToString())


def refusing(asked: Asked) -> Any:
    """An error whose words quote the request, in its metadata too."""
    asked.context.set_trailing_metadata((("x-note", PLANTED["name"]),))
    asked.context.abort(grpc.StatusCode.INVALID_ARGUMENT, TEXT)


def test_planted_personal_data_is_nowhere_over_grpc(rpc_upstream: RpcServer, tmp_path: Path) -> None:
    """In texts, names, parameters, ids, unknown fields, metadata, messages that are none, replies and errors, of calls and of
    streams; in a stream also where replies cut it in two.
    """
    found = over_grpc(strict_and_loose(rpc_upstream.probed.url), rpc_upstream)
    settings = {"INFERENCE__GRPC_PORT": str(free_port()), "LOGS__LEVEL": "debug", **QUICK}
    with running(tmp_path, found, **settings) as gateway:
        client = Client(gateway)
        until_sampled(client, gateway)
        notes = (("maas-routing-key", PLANTED["card"]), ("x-note", PLANTED["name"]))
        calls = 0
        for alias in ("a", "split"):
            for well in (True, False):
                rpc_upstream.behave = (lambda _: next(answered((TEXT,)))) if well else refusing
                cut = (TEXT[:7], TEXT[7:])
                rpc_upstream.stream = (lambda _, cut=cut: map(streamed, answered(cut))) if well else refusing  # type: ignore[misc]
                for message in rpc_requests(alias):
                    reached = client.call(message, *notes).code()
                    talk = client.channel.stream_stream(SERVICE + "ModelStreamInfer")(
                        iter((message,)), metadata=(("authorization", f"Bearer {APP}"), *notes), timeout=60
                    )
                    with contextlib.suppress(grpc.RpcError):
                        list(talk)
                    if well and reached is grpc.StatusCode.OK:
                        calls += 4  # as a call and as a stream, answered well and not
        assert calls == 2 * 7 * 4
        client.channel.close()
        assert_nowhere(gateway, tmp_path, calls)
        assert kept_operations(tmp_path) >= {"infer", "stream_infer"}


def kept_operations(folder: Path) -> set[str]:
    """The operations of the samples whose tensors were kept."""
    return {row["operation"] for row in rows(folder / "samples") if row["inputs"] and row["outputs"]}
