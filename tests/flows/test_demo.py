"""`maas demo`: the contract that its users and their scripts rely on."""

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import openai
import pytest
from tritonclient.http import InferenceServerClient, InferInput

from gateway.upstream.tritonserver import TritonServer, triton_available

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FREE_PORTS = ["--http-port", "0", "--grpc-port", "0", "--control-port", "0"]
PRINCIPALS = ["app", "stranger", "lead", "approver", "sre", "admin"]


class Demo(NamedTuple):
    """A demo that runs: its process, its folder, and demo.json decoded."""

    process: "subprocess.Popen[str]"
    folder: Path
    said: dict[str, Any]

    def key(self, who: str) -> dict[str, str]:
        """The header that makes a caller one of the demo's principals."""
        return {"Authorization": f"Bearer {self.said['keys'][who]}"}

    def infer(self, who: str, alias: str, version: int | None = None) -> httpx.Response:
        """One inference over plain HTTP."""
        pinned = "" if version is None else f"/versions/{version}"
        tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [0.0] * 64}
        return httpx.post(
            f"{self.said['inference_url']}/v2/models/{alias}{pinned}/infer",
            headers=self.key(who),
            json={"inputs": [tensor]},
            timeout=60,
        )

    def control(self, who: str, method: str, path: str, **options: Any) -> httpx.Response:
        """One call of the control plane."""
        headers = self.key(who) | options.pop("headers", {})
        return httpx.request(
            method, f"{self.said['control_url']}/api/v1{path}", headers=headers, timeout=60, **options
        )


def command(folder: Path, *more: str) -> list[str]:
    """`maas demo` on free ports."""
    return [sys.executable, "-m", "gateway.cli.main", "demo", "--data-dir", str(folder), *FREE_PORTS, *more]


@contextlib.contextmanager
def running(folder: Path, *more: str) -> Iterator[Demo]:
    """A demo without its story, from ready to Ctrl-C."""
    process = subprocess.Popen(
        command(folder, "--no-story", *more),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_for(lambda: (folder / "demo.json").exists() or process.poll() is not None)
        assert process.poll() is None, process.communicate()[0]
        yield Demo(process, folder, json.loads((folder / "demo.json").read_text()))
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def finished(arguments: list[str], **options: Any) -> "subprocess.CompletedProcess[str]":
    """The command, once it has ended."""
    return subprocess.run(arguments, capture_output=True, text=True, check=False, **({"cwd": ROOT} | options))


def wait_for(condition: Callable[[], object], limit_s: float = 60) -> None:
    """Waits until the condition holds."""
    limit = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < limit, "it did not come true in time"
        time.sleep(0.05)


def served_by(demo: Demo, alias: str, version: str) -> bool:
    """Whether the application's next call is answered by that version."""
    return demo.infer("app", alias).headers["Maas-Served-By"] == version


def gateway_of(demo: Demo) -> int:
    """The process id of the demo's gateway."""
    return int(json.loads((demo.folder / "gateway-all.json").read_text())["pid"])


def alive(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One demo for the tests that only ask it something."""
    with running(tmp_path_factory.mktemp("demo")) as found:
        yield found


def test_demo_json_says_exactly_what_the_contract_says(demo: Demo) -> None:
    """The addresses are the real ones, the six keys are there, and only the owner may read them."""
    assert sorted(demo.said) == ["control_url", "grpc_target", "inference_url", "keys"]
    assert sorted(demo.said["keys"]) == sorted(PRINCIPALS)
    assert stat.S_IMODE((demo.folder / "demo.json").stat().st_mode) == 0o600
    assert httpx.get(f"{demo.said['inference_url']}/v2/health/ready", timeout=60).status_code == 200
    assert httpx.get(f"{demo.said['control_url']}/health/ready", timeout=60).status_code == 200
    host, _, port = demo.said["grpc_target"].partition(":")
    assert host == "127.0.0.1"
    assert 0 < int(port) < 65536


def test_the_app_calls_all_three_aliases_with_the_published_client(demo: Demo) -> None:
    """Each alias takes FP32 [-1,64] and gives FP32 [-1,10], from version 1, for several images at once."""
    client = InferenceServerClient(demo.said["inference_url"].removeprefix("http://"))
    images = np.load(ROOT / "model_repository" / "digits" / "held_out.npz")["images"][:5].astype(np.float32)
    tensor = InferInput("image", [5, 64], "FP32")
    tensor.set_data_from_numpy(images)
    for alias in ("digits", "digits-legacy", "digits-limited"):
        result = client.infer(alias, [tensor], headers=demo.key("app"))
        assert result.get_response()["model_version"] == "1"
        assert result.as_numpy("probabilities").shape == (5, 10)
        assert demo.infer("app", alias).headers["Maas-Served-By"] == "digits/1"
    client.close()


def test_the_app_has_text_written(demo: Demo) -> None:
    """Alias `tiny-lm` streams text to the application, and is nothing to the stranger."""
    url = f"{demo.said['inference_url']}/v2/models/tiny-lm/generate_stream"
    wish = {"text_input": "A model", "max_tokens": 100, "temperature": 0, "stream": True}
    reply = httpx.post(url, headers=demo.key("app"), json=wish, timeout=60)
    assert reply.headers["Maas-Served-By"] == "tiny-lm/1"
    events = [json.loads(line.removeprefix("data: ")) for line in reply.text.splitlines() if line]
    assert "".join(event["text_output"] for event in events).startswith(" that nobody can build")
    assert len(events) == events[-1]["completion_tokens"] + 1
    assert httpx.post(url, headers=demo.key("stranger"), json=wish, timeout=60).status_code == 404


@pytest.mark.skipif(
    not (ROOT / "model_repository" / "minilm").is_dir(), reason="minilm is not built: make minilm does it"
)
def test_the_app_has_sentences_embedded(demo: Demo) -> None:
    """Where it is built, alias `minilm` gives the application a row of 384 numbers for each sentence."""
    client = InferenceServerClient(demo.said["inference_url"].removeprefix("http://"))
    texts = InferInput("text", [2, 1], "BYTES")
    texts.set_data_from_numpy(np.array([[b"one sentence"], [b"another"]], object))
    embeddings = client.infer("minilm", [texts], headers=demo.key("app")).as_numpy("embedding")
    client.close()
    assert embeddings.shape == (2, 384)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    ai = openai.OpenAI(base_url=f"{demo.said['inference_url']}/v1", api_key=demo.said["keys"]["app"])
    found = ai.embeddings.create(model="minilm", input=["one sentence", "another"])
    np.testing.assert_allclose([each.embedding for each in found.data], embeddings, atol=1e-5)


def test_the_app_has_text_written_by_way_of_the_openai_api(demo: Demo) -> None:
    """By OpenAI's own client; the stranger finds no such model."""
    url = f"{demo.said['inference_url']}/v1"
    ai = openai.OpenAI(base_url=url, api_key=demo.said["keys"]["app"])
    assert "tiny-lm" in {model.id for model in ai.models.list()}
    chat = ai.chat.completions.create(
        model="tiny-lm", messages=[{"role": "user", "content": "A model"}], max_tokens=100, temperature=0
    )
    assert (chat.choices[0].message.content or "").startswith(" that nobody can build")
    stream = ai.completions.create(
        model="tiny-lm", prompt="A model", max_tokens=100, temperature=0, stream=True
    )
    assert "".join(event.choices[0].text for event in stream) == chat.choices[0].message.content
    stranger = openai.OpenAI(base_url=url, api_key=demo.said["keys"]["stranger"])
    with pytest.raises(openai.NotFoundError):
        stranger.completions.create(model="tiny-lm", prompt="A model")


def test_the_legacy_alias_says_until_when(demo: Demo) -> None:
    """It is deprecated, with a sunset ahead and its successor; the others retire not."""
    told = demo.infer("app", "digits-legacy").headers
    assert told["Deprecation"].startswith("@")
    assert parsedate_to_datetime(told["Sunset"]) > datetime.now(UTC)
    assert told["Link"] == '</v2/models/digits>; rel="successor-version"'
    for alias in ("digits", "digits-limited"):
        assert not {"Deprecation", "Sunset"} & set(demo.infer("app", alias).headers)


def test_the_stranger_has_a_valid_key_and_no_rights(demo: Demo) -> None:
    """Its key is known (no 401), and everything is as if it did not exist."""
    assert demo.control("stranger", "GET", "/whoami").json()["principal"] == "app:stranger"
    assert demo.infer("stranger", "digits").status_code == 404
    assert demo.control("stranger", "GET", "/aliases").json() == {"aliases": []}


def test_the_lead_owns_the_aliases_and_may_flip_them(demo: Demo) -> None:
    """The lead pins and flips each alias; the flip is live within a second; nobody else on the team may do it."""
    assert demo.infer("lead", "digits", version=2).headers["Maas-Served-By"] == "digits/2"
    for alias in ("digits", "digits-legacy", "digits-limited"):
        path = f"/aliases/{alias}"
        before = demo.control("lead", "GET", path)
        assert before.json()["targets"] == [
            {"model": "digits", "version": 1, "weight": 10_000, "arm": "stable"}
        ]
        wish = {"targets": [{"model": "digits", "version": 2, "weight": 10_000}]}
        if_match = {"If-Match": before.headers["ETag"]}
        for who, status in (("app", 403), ("approver", 403), ("sre", 403)):
            assert demo.control(who, "PUT", path, json=wish, headers=if_match).status_code == status
        # A stranger is not told that the alias exists: the team of a new one is missing, or nothing is there.
        for team in ({}, {"team": "vision"}):
            answer = demo.control("stranger", "PUT", path, json=wish | team, headers=if_match)
            assert answer.status_code in (404, 422)
        assert demo.control("lead", "PUT", path, json=wish, headers=if_match).status_code == 200
        wait_for(partial(served_by, demo, alias, "digits/2"))
        assert demo.control("lead", "POST", f"{path}/rollback", json={}).is_success


def test_sre_reads_everything_and_admin_does_all(demo: Demo) -> None:
    """The SRE sees aliases, keys, policy, audit and workers, and changes nothing; the administrator may."""
    for path in ("/aliases", "/models", "/pools", "/keys", "/policy", "/audit", "/workers"):
        assert demo.control("sre", "GET", path).status_code == 200, path
    assert demo.infer("sre", "digits").status_code == 403
    key = {"principal": "app:extra"}
    assert demo.control("sre", "POST", "/keys", json=key).status_code == 403
    assert demo.control("admin", "POST", "/keys", json=key).status_code == 201
    assert demo.infer("admin", "digits").status_code == 200


def test_the_approver_may_approve_and_not_flip(demo: Demo) -> None:
    """Four eyes: the approver's right is there for the releases to come, and is no right to flip."""
    for action, allowed in (("approve", True), ("read", True), ("flip", False)):
        question = {"subject": "user:approver", "action": action, "alias": "digits"}
        answer = demo.control("admin", "POST", "/policy/check", json=question)
        assert answer.json() == {"allowed": allowed}


def test_ctrl_c_ends_all_of_it_and_a_second_run_goes_on(tmp_path: Path) -> None:
    """Status 0, no process left; the next run on the folder has its aliases as the story needs them, and all keys work."""
    with running(tmp_path) as first:
        wish = {"targets": [{"model": "digits", "version": 2, "weight": 10_000}]}
        etag = first.control("lead", "GET", "/aliases/digits").headers["ETag"]
        assert first.control(
            "lead", "PUT", "/aliases/digits", json=wish, headers={"If-Match": etag}
        ).is_success
        pid = gateway_of(first)
    assert first.process.returncode == 0
    assert not alive(pid)
    process = finished(command(tmp_path, "--no-story", "--exit"))
    assert process.returncode == 0, process.stderr
    again = json.loads((tmp_path / "demo.json").read_text())
    assert again["keys"] == first.said["keys"]


def test_until_it_is_ready_there_is_no_demo_json(tmp_path: Path) -> None:
    """A run that does not come up leaves no addresses of an earlier one behind, and loses none of its keys."""
    assert finished(command(tmp_path, "--no-story", "--exit")).returncode == 0
    keys = json.loads((tmp_path / "demo.json").read_text())["keys"]
    failed = finished(command(tmp_path, "--exit", "--engine", "http://127.0.0.1:9"))
    assert failed.returncode == 1
    database = tmp_path / "maas.db"
    database.rename(tmp_path / "away")
    database.mkdir()
    assert finished(command(tmp_path, "--no-story", "--exit")).returncode == 1
    assert not (tmp_path / "demo.json").exists()
    database.rmdir()
    (tmp_path / "away").rename(database)
    assert finished(command(tmp_path, "--no-story", "--exit")).returncode == 0
    assert json.loads((tmp_path / "demo.json").read_text())["keys"] == keys


def test_a_demo_that_is_killed_takes_its_gateway_along(tmp_path: Path) -> None:
    """Kill -9 of the demo leaves no gateway behind that would hold the ports."""
    with running(tmp_path) as found:
        pid = gateway_of(found)
        found.process.kill()
        wait_for(lambda: not alive(pid))


@pytest.mark.parametrize("option", ["--http-port", "--grpc-port", "--control-port"])
def test_a_taken_port_is_named(tmp_path: Path, option: str) -> None:
    """Status 1 and one line with the port and the option that chooses another; nothing is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = finished(command(tmp_path, "--exit", option, port), timeout=60)
    assert process.returncode == 1
    assert process.stderr.count("\n") == 1
    assert port in process.stderr
    assert option in process.stderr
    assert not (tmp_path / "demo.json").exists()


@pytest.mark.skipif(triton_available() is not None, reason=f"no Triton: {triton_available()}")
def test_the_story_holds_in_front_of_a_real_triton(tmp_path: Path) -> None:
    """The same story on a Triton that runs already, named by its URL."""
    with TritonServer.start(ROOT / "model_repository") as triton:
        process = finished(command(tmp_path, "--exit", "--engine", triton.http_url))
    assert process.returncode == 0, process.stdout + process.stderr
    assert "Back again" in process.stdout


@pytest.mark.timeout(900)
def test_make_demo_from_a_clean_clone(tmp_path: Path) -> None:
    """`make demo` in a fresh clone does everything needed, tells the whole story and ends with status 0."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not in a git working tree")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    kept = ("HOME", "PATH", "LANG", "TMPDIR", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE")
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in kept or name.startswith(("PIP_", "UV_", "XDG_"))
    }
    arguments = " ".join(["--exit", *FREE_PORTS])
    process = finished(["make", "demo", f"ARGS={arguments}"], cwd=clone, env=environment)
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    for line in (
        "zero",
        "404 There is no alias",
        "digits/2",
        "raising a weight moves nobody back",
        "Back again",
    ):
        assert line in process.stdout
    assert "\x1b" not in process.stdout
    assert sorted(json.loads((clone / "maas-data" / "demo" / "demo.json").read_text())["keys"]) == sorted(
        PRINCIPALS
    )
