"""Calls over gRPC: who may make them, where they go, what their callers are told."""

import json
import time

import grpc
import msgspec
import pytest
from tritonclient.grpc import service_pb2

from gateway.snapshot.document import DeprecationEntry, LimitEntry, QuotaEntry
from loadtests.processes import free_port
from tests.dataplane.grpc.conftest import (
    MOST_BYTES,
    SERVICE,
    Asked,
    Client,
    RpcServer,
    infer,
    last_logged,
    reply_of,
    rpc_document,
)
from tests.dataplane.raw import RawClient, until_answered
from tests.gateway_process import (
    EXPIRED,
    PINNER,
    READER,
    STRANGER,
    Gateway,
    alias_entry,
    changed,
    running,
    wait_for,
)
from tests.patience import PATIENT_S

CODE = grpc.StatusCode


def initial(call: grpc.Future) -> dict[str, str]:
    """The initial metadata; no field stands there twice."""
    pairs = list(call.initial_metadata())
    assert len({name for name, _ in pairs}) == len(pairs)
    return dict(pairs)


def problem(call: grpc.Future) -> dict[str, object]:
    """The problem document in the trailing metadata."""
    found: dict[str, object] = json.loads(dict(call.trailing_metadata())["maas-problem-bin"])
    return found


def hang(asked: Asked) -> bytes:
    """Say nothing until the call ends."""
    asked.ended.wait(PATIENT_S)
    return b""


def test_a_call_goes_to_the_pinned_version(client: Client, server: RpcServer) -> None:
    """Triton is asked for the target's name and version, with the caller's message before it; the reply passes untouched."""
    message = infer("a", id="mine", raw_input_contents=[b"\0" * 8]) + b"\xfa\x3f\x03new"
    call = client.call(message)
    assert reply_of(call) == service_pb2.ModelInferResponse(model_name="m", model_version="1", id="mine")
    (asked,) = server.asked
    assert asked.method == SERVICE + "ModelInfer"
    assert asked.message.startswith(message)
    assert initial(call)["maas-served-by"] == "m/1"
    assert len(initial(call)["x-request-id"]) == 32


def test_a_call_stands_in_the_access_log(client: Client, shared_rpc_gateway: Gateway) -> None:
    """As one over HTTP does, with its protocol."""
    message = infer("a")
    call = client.call(message, ("x-request-id", "call-17"), ("traceparent", f"00-{'a' * 32}-{'b' * 16}-01"))
    line = last_logged(shared_rpc_gateway, "call-17")
    assert initial(call)["x-request-id"] == "call-17"
    assert {key: line[key] for key in ("protocol", "operation", "alias", "model", "version", "outcome")} == {
        "protocol": "grpc",
        "operation": "infer",
        "alias": "a",
        "model": "m",
        "version": 1,
        "outcome": "ok",
    }
    assert line["trace_id"] == "a" * 32
    assert line["request_bytes"] == len(message)
    assert line["reply_bytes"] == len(call.result())


def test_metadata_goes_on_but_for_what_is_the_gateways(client: Client, server: RpcServer) -> None:
    """Credentials, forged fields and what each side says for itself stay behind."""
    client.call(
        infer(),
        ("x-colour", "blue"),
        ("x-raw-bin", b"\0\xff\r\n"),
        ("traceparent", f"00-{'a' * 32}-{'b' * 16}-01"),
        ("maas-routing-key", "u"),
        ("maas-served-by", "x/1"),
        ("x-forwarded-for", "1.2.3.4"),
        ("cookie", "a=b"),
        ("x-tenant", "t"),
        ("x-request-id", "r-1"),
    )
    found = server.asked[0].metadata
    assert {name for name in found if not name.startswith(("grpc-", "user-agent"))} == {
        "x-colour",
        "x-raw-bin",
        "traceparent",
        "x-request-id",
    }
    assert (found["x-colour"], found["x-raw-bin"], found["x-request-id"]) == ("blue", b"\0\xff\r\n", "r-1")


@pytest.mark.parametrize(
    ("key", "alias", "version", "code"),
    [
        (None, "a", "", CODE.UNAUTHENTICATED),
        ("nobody", "a", "", CODE.UNAUTHENTICATED),
        (EXPIRED, "a", "", CODE.UNAUTHENTICATED),
        (STRANGER, "a", "", CODE.NOT_FOUND),
        (READER, "a", "", CODE.PERMISSION_DENIED),
        (PINNER, "none", "", CODE.NOT_FOUND),
        (PINNER, "hidden", "", CODE.NOT_FOUND),
        (PINNER, "m", "", CODE.NOT_FOUND),
        (PINNER, "", "", CODE.INVALID_ARGUMENT),
        (PINNER, "a/b", "", CODE.INVALID_ARGUMENT),
        (PINNER, "a", "1abc", CODE.INVALID_ARGUMENT),
        (PINNER, "a", "01", CODE.INVALID_ARGUMENT),
        (PINNER, "a", str(2**64), CODE.INVALID_ARGUMENT),
        (PINNER, "a", "9", CODE.NOT_FOUND),
        (PINNER, "unloaded", "", CODE.UNAVAILABLE),
    ],
)
def test_refusals(
    client: Client, server: RpcServer, key: str | None, alias: str, version: str, code: grpc.StatusCode
) -> None:
    """Each has its code, a sentence, the problem document and a request id; nothing reaches the server."""
    call = client.call(infer(alias, version), key=key)
    assert call.code() is code
    assert call.details() == problem(call)["detail"]
    assert str(problem(call)["instance"]) == f"urn:maas:request:{initial(call)['x-request-id']}"
    assert not server.asked
    if code is CODE.UNAVAILABLE:
        assert initial(call)["retry-after"] == "1"


@pytest.mark.parametrize(
    "metadata",
    [
        [("authorization", "Bearer key-of-app"), ("x-api-key", "key-of-app")],
        [("x-api-key", "key-of-app"), ("x-api-key", "key-of-app")],
    ],
)
def test_two_credentials_are_refused(client: Client, metadata: list[tuple[str, str]]) -> None:
    """Exactly one is needed."""
    assert client.call(infer(), *metadata, key=None).code() is CODE.UNAUTHENTICATED
    assert client.call(infer(), metadata[1], key=None).code() is CODE.OK


def test_a_field_that_stands_there_twice_is_refused(client: Client) -> None:
    """Which of the two counts would be anybody's guess."""
    call = client.call(infer(), ("maas-routing-key", "a"), ("maas-routing-key", "b"))
    assert call.code() is CODE.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "method", ["ModelInfer", "ModelMetadata", "ModelReady", "ModelConfig", "ModelStatistics"]
)
@pytest.mark.parametrize("message", [b"\xff\xff", b"\x0a\x7fa", b"\x0a\x02\xff\xfe", b"\x0b\x0c", b"\x00"])
def test_garbage_is_an_invalid_argument(
    client: Client, server: RpcServer, method: str, message: bytes
) -> None:
    """It never reaches the server."""
    call = client.call(message, method=SERVICE + method)
    assert call.code() is CODE.INVALID_ARGUMENT
    assert not server.asked


@pytest.mark.parametrize(
    "method",
    [
        "RepositoryIndex",
        "RepositoryModelLoad",
        "RepositoryModelUnload",
        "SystemSharedMemoryStatus",
        "SystemSharedMemoryRegister",
        "SystemSharedMemoryUnregister",
        "CudaSharedMemoryStatus",
        "CudaSharedMemoryRegister",
        "CudaSharedMemoryUnregister",
        "TraceSetting",
        "LogSettings",
    ],
)
def test_what_would_change_the_server_is_denied(client: Client, server: RpcServer, method: str) -> None:
    """Whoever asks."""
    call = client.call(b"", method=SERVICE + method, key=PINNER)
    assert call.code() is CODE.PERMISSION_DENIED
    assert not server.asked


def test_what_is_no_method_is_not_there(client: Client) -> None:
    """Reflection among it."""
    for method in (SERVICE + "Nothing", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"):
        assert client.call(b"", method=method).code() is CODE.UNIMPLEMENTED


def test_health(client: Client) -> None:
    """`grpc.health.v1` says SERVING for the server and its services, to anybody."""
    check = "/grpc.health.v1.Health/Check"
    service = b"\x0a\x1finference.GRPCInferenceService"
    for request in (b"", service[:1] + bytes([len(service) - 2]) + service[2:]):
        assert client.call(request, method=check, key=None).result() == b"\x08\x01"
    assert client.call(b"\x0a\x01x", method=check, key=None).code() is CODE.NOT_FOUND
    assert client.call(b"\xff", method=check, key=None).code() is CODE.INVALID_ARGUMENT
    for method in ("ServerLive", "ServerReady"):
        assert client.call(b"", method=SERVICE + method, key=None).result() == b"\x08\x01"
    watch = client.channel.unary_stream("/grpc.health.v1.Health/Watch")
    for request, status in ((b"", b"\x08\x01"), (b"\x0a\x01x", b"\x08\x03")):
        watching = watch(request, timeout=PATIENT_S)
        assert next(watching) == status
        watching.cancel()


def test_the_servers_own_errors_pass(client: Client, server: RpcServer) -> None:
    """Code and words are the server's; the gateway's fields stand beside them."""

    def refuse(asked: Asked) -> bytes:
        asked.context.abort(CODE.INVALID_ARGUMENT, "unexpected inference input 'x' for model 'm'")
        raise AssertionError

    server.behave = refuse
    call = client.call(infer())
    assert (call.code(), call.details()) == (
        CODE.INVALID_ARGUMENT,
        "unexpected inference input 'x' for model 'm'",
    )
    assert initial(call)["maas-served-by"] == "m/1"
    assert len(server.asked) == 1


def test_the_same_caller_meets_the_same_version_over_both_protocols(
    client: Client, shared_rpc_gateway: Gateway, server: RpcServer
) -> None:
    """For a thousand routing keys, and for a key that sends none."""
    seen: set[str] = set()
    with RawClient(shared_rpc_gateway.address) as http:
        for number in range(1001):
            fields = b"" if number == 1000 else b"Maas-Routing-Key: user-%d\r\n" % number
            http.send(
                b"POST /v2/models/split/infer HTTP/1.1\r\nHost: x\r\nX-API-Key: key-of-app\r\n"
                b"Content-Length: 2\r\n" + fields + b"\r\n{}"
            )
            over_http = http.reply().header("Maas-Served-By")
            metadata = () if number == 1000 else (("maas-routing-key", f"user-{number}"),)
            assert initial(client.call(infer("split"), *metadata))["maas-served-by"] == over_http
            seen.add(str(over_http))
    assert seen == {"m/1", "m/2"}


def test_a_large_tensor_passes(client: Client, server: RpcServer) -> None:
    """20 MB both ways; what is beyond the limit is refused, compressed or not."""
    tensor = bytes(range(256)) * (20 * 4096)

    def mirror(asked: Asked) -> bytes:
        return bytes(
            service_pb2.ModelInferResponse(
                raw_output_contents=asked.request.raw_input_contents
            ).SerializeToString()
        )

    server.behave = mirror
    call = client.call(infer(raw_input_contents=[tensor]))
    assert reply_of(call).raw_output_contents[0] == tensor
    for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
        call = client.call(infer(raw_input_contents=[b"\0" * (MOST_BYTES + 1)]), compression=compression)
        assert call.code() is CODE.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_messages_are_accepted(
    client: Client, server: RpcServer, compression: grpc.Compression
) -> None:
    """They go on as they were before."""
    message = infer(raw_input_contents=[b"\0" * 100_000])
    reply_of(client.call(message, compression=compression))
    assert server.asked[0].message.startswith(message)


# --- time ---


def test_the_callers_deadline_is_passed_on(client: Client, server: RpcServer) -> None:
    """What is left of it, never more than the gateway's own; an absurd one is clamped, and so is none."""
    # gRPC rounds a time-out of ten seconds or more up to the next tenth on its way.
    for timeout, least, most in ((9, 3, 9), (10**8, 250, 301), (None, 20, 31)):
        client.call(infer(), timeout=timeout)
        assert least < server.asked[-1].remaining_s < most
    client.call(infer(parameters={"timeout": service_pb2.InferParameter(int64_param=9_000_000)}))
    assert 3 < server.asked[-1].remaining_s < 9.1


def test_a_late_reply_is_a_deadline_exceeded(
    client: Client, server: RpcServer, shared_rpc_gateway: Gateway
) -> None:
    """The gateway says so itself, in time, and the server sees the call end."""
    outcomes: list[str] = []
    # It has 50 ms to say so before the caller's own clock does, which a busy machine may take from it once or twice.
    while outcomes[-1:] != ["deadline"]:
        assert len(outcomes) < 10, outcomes
        server.renew()
        server.behave = hang
        began, request_id = time.monotonic(), f"late-{len(outcomes)}"
        call = client.call(infer(), ("x-request-id", request_id), timeout=2)
        assert call.code() is CODE.DEADLINE_EXCEEDED
        assert time.monotonic() - began < 20, "the gateway's own limit is 30 s"
        outcomes.append(last_logged(shared_rpc_gateway, request_id)["outcome"])
    assert server.asked[0].ended.wait(PATIENT_S)


def test_a_caller_that_goes_cancels_the_call_upstream(
    client: Client, server: RpcServer, shared_rpc_gateway: Gateway
) -> None:
    """The server sees it, and the log says who went."""
    server.behave = hang
    call = client.start(infer(), ("x-request-id", "gone-1"))
    wait_for(lambda: server.asked, what="the server to be asked")
    call.cancel()
    assert server.asked[0].ended.wait(PATIENT_S)
    assert last_logged(shared_rpc_gateway, "gone-1")["outcome"] == "caller_gone"


# --- with a gateway of one's own ---


def test_quotas_and_deprecations_are_told_as_metadata(
    server: RpcServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In initial metadata, in lower case, with replies and refusals alike; batch rows are counted from the message."""
    base = rpc_document(server)
    quotas = (
        QuotaEntry("rows", (LimitEntry("rows", "inferences", 6, 3600, 6),), alias="split", application="*"),
    )
    retiring = msgspec.structs.replace(
        alias_entry("old", ("m", 1, 10_000)),
        deprecation=DeprecationEntry(deprecated_at=1.7e9, sunset_at=4e9, successor="a"),
    )
    found = changed(base, aliases=(*base.aliases, retiring), quotas=quotas)
    with running(tmp_path_factory.mktemp("told"), found, INFERENCE__GRPC_PORT=free_port()) as gateway:
        until_answered(gateway.address)
        client = Client(gateway)
        message = infer("split", inputs=[{"name": "x", "datatype": "FP32", "shape": [4, 2]}])
        fields = initial(client.call(message))
        assert fields["ratelimit-policy"] == '"rows/rows";q=6;w=3600;qu="inferences"'
        assert fields["ratelimit"].startswith('"rows/rows";r=2;t=')
        over = client.call(message)
        assert over.code() is CODE.RESOURCE_EXHAUSTED
        assert problem(over)["violated-policies"] == ["rows/rows"]
        assert {"ratelimit", "retry-after", "ratelimit-policy"} <= set(initial(over))
        assert not {"ratelimit", "ratelimit-policy"} & set(dict(over.trailing_metadata()))
        old = initial(client.call(infer("old")))
        assert old["deprecation"] == "@1700000000"
        assert {"sunset", "link"} <= set(old)
        refused = client.call(infer("old"), key=READER)
        assert refused.code() is CODE.PERMISSION_DENIED
        assert initial(refused)["deprecation"] == "@1700000000"
