"""A real Triton and the embedded engine give the same answers to the same calls."""

import difflib
import http.client
import json
import math
import re
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from gateway.upstream.embedded import EmbeddedEngine, EngineRequest
from gateway.upstream.tritonserver import TritonServer, TritonStartError
from tests.contract.agreement.case import Case
from tests.contract.agreement.corpus import corpus
from tests.models.build import build_repository
from tests.upstream.embedded.models import build

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SAMPLES = Path(__file__).parents[2] / "model_repository"
SUFFIX = {"metadata": "", "config": "/config", "stats": "/stats", "ready": "/ready"}
COMPARED = (b"content-type", b"content-encoding", b"inference-header-content-length")
ALIKE = 0.9
"""How much of two error texts must be the same. The rest is the choice of the input that is named."""


class Answer(msgspec.Struct):
    """A reply, whoever gave it; the body is unpacked."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test models and the sample model, which serves both engines unchanged."""
    folder = build(build_repository(tmp_path_factory.mktemp("agree"), python_models=False))
    shutil.copytree(SAMPLES / "digits", folder / "digits")
    return folder


@pytest.fixture(scope="module")
def triton(folder: Path) -> Iterator[TritonServer]:
    try:
        server = TritonServer.start(folder, ready_timeout_s=120)
    except TritonStartError as error:
        pytest.skip(f"Triton does not run here: {error}")
    with server:
        yield server


@pytest.fixture(scope="module")
def engine(folder: Path) -> EmbeddedEngine:
    engine = EmbeddedEngine(folder)
    engine.load()
    assert not engine.failures()
    return engine


def ask_triton(server: TritonServer, case: Case) -> Answer:
    """The call over HTTP, with no header that the case does not name."""
    connection = http.client.HTTPConnection(urlsplit(server.http_url).netloc, timeout=30)
    path = (
        f"/v2/models/{case.model}/versions/{case.version}{SUFFIX.get(case.operation, '/' + case.operation)}"
    )
    connection.putrequest("GET" if case.operation in SUFFIX else "POST", path, skip_accept_encoding=True)
    for name, value in case.headers.items():
        connection.putheader(name.decode(), value)
    connection.putheader("Content-Length", str(len(case.body)))
    connection.endheaders(case.body)
    reply = connection.getresponse()
    headers = {name.lower().encode(): value.encode() for name, value in reply.getheaders()}
    answer = Answer(reply.status, headers, reply.read())
    connection.close()
    return unpacked(answer)


def ask_engine(engine: EmbeddedEngine, case: Case) -> Answer:
    request = EngineRequest(case.operation, case.model, case.version, case.headers, case.body)  # type: ignore[arg-type]
    reply = engine.answer(request)
    body = reply.body if reply.events is None else b"".join(reply.events)
    return unpacked(Answer(reply.status, {name.lower(): value for name, value in reply.headers}, body))


def unpacked(answer: Answer) -> Answer:
    if answer.headers.get(b"content-encoding"):
        answer.body = zlib.decompress(answer.body, 32 + zlib.MAX_WBITS)
    return answer


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name.replace(" ", "-")) for case in corpus()])
def test_both_engines_give_the_same_answer(triton: TritonServer, engine: EmbeddedEngine, case: Case) -> None:
    """Status, content and the headers that matter are the same, or differ as the case says and for its reason."""
    theirs, ours = ask_triton(triton, case), ask_engine(engine, case)
    if case.ours is None:
        assert ours.status == theirs.status, (theirs.body, ours.body)
    else:
        assert case.because
        assert ours.status == case.ours, (theirs.body, ours.body)
        assert theirs.status != case.ours, "the two agree by now: take the exception out of the corpus"
    if ours.status == 200:
        assert_same_headers(theirs, ours)
        assert_same_content(case, theirs, ours)
    elif theirs.status != 200 and not case.other_words:
        assert_same_words(words(theirs), words(ours))
    elif ours.status != 200:
        assert words(ours)


def assert_same_headers(theirs: Answer, ours: Answer) -> None:
    for name in COMPARED:
        if name != b"inference-header-content-length":
            assert ours.headers.get(name) == theirs.headers.get(name)
        else:
            assert (name in ours.headers) == (name in theirs.headers)


def words(answer: Answer) -> str:
    text: str = json.loads(answer.body.removeprefix(b"data: "))["error"]
    return text


def assert_same_words(theirs: str, ours: str) -> None:
    """Equal up to the names of inputs, whose order Triton leaves to a hash."""
    same = difflib.SequenceMatcher(None, theirs, ours, autojunk=False).ratio()
    assert same >= ALIKE, (theirs, ours)
    prefix = re.match(r"\[request id: [^]]*\]", theirs)
    assert prefix is None or ours.startswith(prefix[0])


def assert_same_content(case: Case, theirs: Answer, ours: Answer) -> None:
    if case.operation == "ready":
        assert ours.body == theirs.body == b""
    elif case.operation == "stats":
        assert_same_shape(json.loads(theirs.body), json.loads(ours.body))
    elif case.operation == "config":
        expected = json.loads(theirs.body)
        # The packaged server runs the backend as a Python model and says so here; NVIDIA's container does not.
        expected["runtime"] = ""
        assert_equal(expected, json.loads(ours.body))
    elif case.operation == "generate_stream":
        assert ours.body.startswith(b"data: ")
        assert ours.body.endswith(b"\n\n")
        assert_equal(json.loads(theirs.body[6:]), json.loads(ours.body[6:]))
    else:
        assert_equal(document(theirs), document(ours))


def document(answer: Answer) -> Any:
    """The reply's JSON with outputs by name and each output's data, binary or not, beside it."""
    header = int(answer.headers.get(b"inference-header-content-length", len(answer.body)))
    parsed, rest = json.loads(answer.body[:header]), answer.body[header:]
    if "outputs" in parsed and "model_version" in parsed:
        for entry in parsed["outputs"]:
            if "parameters" in entry:
                size = entry["parameters"]["binary_data_size"]
                entry["binary"], rest = floats_or_bytes(entry["datatype"], rest[:size]), rest[size:]
        parsed["outputs"] = {entry["name"]: entry for entry in parsed["outputs"]}
    assert not rest
    return parsed


def floats_or_bytes(datatype: str, raw: bytes) -> Any:
    return list(struct.unpack(f"<{len(raw) // 4}f", raw)) if datatype == "FP32" else raw


def assert_equal(theirs: Any, ours: Any) -> None:
    """Equal JSON; numbers within one in a million."""
    if isinstance(theirs, float):
        assert math.isclose(theirs, ours, rel_tol=1e-6) or (math.isnan(theirs) and math.isnan(ours))
    elif isinstance(theirs, dict):
        assert theirs.keys() == ours.keys()
        for key, value in theirs.items():
            assert_equal(value, ours[key])
    elif isinstance(theirs, list):
        assert len(theirs) == len(ours)
        for left, right in zip(theirs, ours, strict=True):
            assert_equal(left, right)
    else:
        assert theirs == ours


def assert_same_shape(theirs: Any, ours: Any) -> None:
    """The same fields of the same kinds; the counts are each engine's own."""
    assert type(theirs) is type(ours)
    if isinstance(theirs, dict):
        assert list(theirs) == list(ours)
        for key, value in theirs.items():
            assert_same_shape(value, ours[key])
    elif isinstance(theirs, list):
        for left, right in zip(theirs, ours, strict=False):
            assert_same_shape(left, right)
