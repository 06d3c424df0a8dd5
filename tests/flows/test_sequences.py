"""Sequences through a gateway of two workers in front of two Triton servers: each stays where it began, and meets no other."""

import itertools
import json
import os
import queue
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from tests.contract.harness import Gateway, done, install, wait_until
from tests.flows.conftest import TEAM, start_triton
from tests.flows.sequences import IDS, MODEL, Scene, add, answers, ask, begun_at, build, grpc_tensor, whole
from tests.patience import PATIENT_S

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What both servers serve."""
    folder = tmp_path_factory.mktemp("models")
    build(folder)
    return folder


@pytest.fixture(scope="module")
def scene(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with (
        start_triton(models) as here,
        start_triton(models) as there,
        Gateway(install(tmp_path_factory.mktemp("sequences")), {"MAAS_WORKERS": "2"}) as gateway,
        gateway.operator() as operator,
    ):
        grpc = [here.grpc_target, there.grpc_target]
        operator.pool("pair", here.http_url, there.http_url, grpc=grpc)
        for name in (MODEL, "leaving", "tells", "ensemble"):
            operator.model(models / name, team=TEAM, pool="pair")
        operator.alias("sum", f"{MODEL}@1", team=TEAM)
        operator.alias("both", f"{MODEL}@1=5000 {MODEL}@2=5000", team=TEAM, sticky=False)
        operator.alias("told", "ensemble@1", team=TEAM)
        operator.role("app:shop", "consumer", TEAM)
        operator.role("app:bank", "consumer", TEAM)
        found = Scene(gateway, operator.key("app:shop"), operator.key("app:bank"), (here, there))
        for alias in ("sum", "both", "told"):
            wait_until(partial(answers, found, alias), f"{alias} is served")
        yield found


def test_many_sequences_each_stay_where_they_began(scene: Scene) -> None:
    """Twenty-four at once, over two versions, two servers and two workers; numbers and texts, short and long."""
    names = [*(next(IDS) for _ in range(12)), *("a" * length for length in range(1, 257, 23))]
    numbers = {name: [at, *range(8)] for at, name in enumerate(names)}
    with ThreadPoolExecutor(8) as callers:
        sums = list(callers.map(lambda name: whole(scene, "both", name, numbers[name]), names))
    assert sums == [list(itertools.accumulate(numbers[name])) for name in names]


def test_equal_ids_of_two_tenants_never_meet(scene: Scene) -> None:
    """Nor those of one tenant in two aliases, nor a number and the text that looks like it."""
    name = next(IDS)
    five = [
        (scene.shop, "sum", name),
        (scene.bank, "sum", name),
        (scene.shop, "both", name),
        (scene.shop, "sum", str(name)),
        (scene.shop, "sum/versions/1", name),
    ]
    for at, (key, alias, each) in enumerate(five):
        assert add(scene, alias, at, key, sequence_id=each, sequence_start=True)[0] == at
    for at, (key, alias, each) in enumerate(five):
        assert add(scene, alias, 100, key, sequence_id=each, sequence_end=True)[0] == 100 + at


def test_a_weight_change_moves_no_sequence_that_is_open(scene: Scene) -> None:
    """It stays on its version to its end, by whichever worker, and the next one under its id begins on the new version."""
    name = next(IDS)
    begin_then_move(scene, "moving", name)
    for total in range(2, 12):
        assert add(scene, "moving", 1, sequence_id=name) == (total, f"{MODEL}/1")
    assert add(scene, "moving", 1, sequence_id=name, sequence_end=True) == (12, f"{MODEL}/1")
    assert add(scene, "moving", 5, sequence_id=name, sequence_start=True) == (5, f"{MODEL}/2")


def begin_then_move(scene: Scene, alias: str, name: int) -> None:
    """Begin a sequence on version 1, and have the alias lead to version 2 from then on."""
    with scene.gateway.operator() as operator:
        operator.alias(alias, f"{MODEL}@1", team=TEAM)
        wait_until(partial(answers, scene, alias), "it is served")
        assert add(scene, alias, 1, sequence_id=name, sequence_start=True) == (1, f"{MODEL}/1")
        operator.alias(alias, f"{MODEL}@2", team=TEAM)

    def moved() -> bool:
        began = [
            add(scene, alias, 1, sequence_id=next(IDS), sequence_start=True, sequence_end=True)[1]
            for _ in range(8)
        ]
        return set(began) == {f"{MODEL}/2"}

    wait_until(moved, "new sequences begin on version 2, at every worker")


def test_what_is_remembered_outlives_the_workers(scene: Scene) -> None:
    """Those that come after workers that were killed know where a sequence is, though none would begin there now."""
    name = next(IDS)
    begin_then_move(scene, "outlived", name)
    told = scene.gateway.installation.data_dir / "gateway-all.json"
    before = set(json.loads(told.read_text())["workers"].values())
    for pid in before:
        os.kill(pid, signal.SIGKILL)

    def replaced() -> bool:
        workers = set(json.loads(told.read_text())["workers"].values())
        return len(workers) == 2 and not workers & before

    wait_until(replaced, "two other workers")
    wait_until(partial(goes_on, scene, name), "they answer")


def goes_on(scene: Scene, name: int) -> bool:
    """Whether the next request of the sequence is answered; then by its own version, with all that came before."""
    try:
        reply = ask(scene, "outlived", 1, sequence_id=name, sequence_end=True)
    except httpx.TransportError:
        return False
    if reply.status_code == 503:
        return False
    assert (reply.status_code, reply.headers["Maas-Served-By"]) == (200, f"{MODEL}/1")
    assert reply.json()["outputs"][0]["data"] == [2]
    return True


def test_what_has_not_begun_is_told_so_in_tritons_words(scene: Scene) -> None:
    """With the caller's own id in them; and so is what has ended."""
    for name in (next(IDS), "never-begun"):
        reply = ask(scene, "sum", 1, sequence_id=name)
        words = (
            f"inference request for sequence {name} to model '{MODEL}' must specify the START flag on the first "
            "request of the sequence"
        )
        assert (reply.status_code, reply.json()) == (400, {"error": words})
        assert whole(scene, "sum", name, [1, 2]) == [1, 3]
        assert ask(scene, "sum", 1, sequence_id=name).json() == {"error": words}


@pytest.mark.parametrize("name", [77, "seventy-seven"])
def test_a_reply_that_tells_the_id_tells_the_callers_own(scene: Scene, name: int | str) -> None:
    """Ensembles do. Their models are told the gateway's number, which is the same each time and another one for each tenant."""
    direct = httpx.post(
        f"{scene.servers[0].http_url}/v2/models/ensemble/versions/1/infer",
        json={
            "inputs": [{"name": "INPUT", "datatype": "INT32", "shape": [1], "data": [1]}],
            "parameters": {"sequence_id": name, "sequence_start": True},
        },
        trust_env=False,
        timeout=PATIENT_S,
    ).json()
    told = [
        ask(scene, "told", 1, key, sequence_id=name, sequence_start=True)
        for key in (scene.shop, scene.bank) * 2
    ]
    ids = [reply.json()["outputs"][0]["data"][0] for reply in told]
    assert ids[:2] == ids[2:]
    assert ids[0] != ids[1]
    assert all(0 < int(each) < 2**63 for each in ids)
    for reply in told:
        ours = reply.json()
        assert (
            ours["parameters"]
            == direct["parameters"]
            == {
                "sequence_id": name,
                "sequence_start": True,
                "sequence_end": False,
            }
        )
        assert reply.headers["Content-Length"] == str(len(reply.content))


def test_a_compressed_request_with_binary_tensors_is_one_too(scene: Scene) -> None:
    """Tritonclient over HTTP, as it comes; also with the reply in binary form, whose JSON part becomes longer or shorter."""
    with tritonclient.http.InferenceServerClient(scene.gateway.inference) as client:
        for compression in (None, "gzip", "deflate"):
            name = next(IDS)
            for at in range(4):
                tensor = tritonclient.http.InferInput("INPUT", [1], "INT32")
                tensor.set_data_from_numpy(np.array([5], np.int32))
                result = client.infer(
                    "both",
                    [tensor],
                    sequence_id=name,
                    sequence_start=at == 0,
                    sequence_end=at == 3,
                    headers=scene.shop.headers,
                    request_compression_algorithm=compression,
                    response_compression_algorithm=compression,
                )
                assert result.as_numpy("OUTPUT").tolist() == [5 * (at + 1)]
        tensor = tritonclient.http.InferInput("INPUT", [1], "INT32")
        tensor.set_data_from_numpy(np.array([5], np.int32))
        result = client.infer("told", [tensor], sequence_id=3, headers=scene.shop.headers)
        assert result.get_response()["parameters"]["sequence_id"] == 3
        assert int(result.as_numpy("ID")[0]) > 3


def test_a_sequence_goes_on_over_the_other_protocol(scene: Scene) -> None:
    """HTTP and gRPC, by turns: the same id of the same caller is the same sequence."""
    name = next(IDS)
    headers = {"authorization": f"Bearer {scene.shop.text}"}
    with tritonclient.grpc.InferenceServerClient(scene.gateway.grpc_target) as client:
        assert add(scene, "both", 1, sequence_id=name, sequence_start=True)[0] == 1
        for total in range(2, 8, 2):
            told = client.infer("both", [grpc_tensor(1)], sequence_id=name, headers=headers)
            assert told.as_numpy("OUTPUT").tolist() == [total]
            assert add(scene, "both", 1, sequence_id=name)[0] == total + 1
        with pytest.raises(tritonclient.grpc.InferenceServerException, match="for sequence other to model"):
            client.infer("both", [grpc_tensor(1)], sequence_id="other", headers=headers)
        told = client.infer("told", [grpc_tensor(1)], sequence_id="mine", headers=headers)
        assert told.get_response().parameters["sequence_id"].string_param == "mine"


def test_a_stream_carries_sequences_and_they_outlive_it(scene: Scene) -> None:
    """Two by turns on one stream, the rest of them on another; each reply names the version and, in an ensemble, the id."""
    names = [next(IDS), "text"]
    headers = {"authorization": f"Bearer {scene.shop.text}"}
    totals = []
    for part in range(2):
        told: queue.Queue[Any] = queue.Queue()
        with tritonclient.grpc.InferenceServerClient(scene.gateway.grpc_target) as client:
            client.start_stream(lambda result, error, told=told: told.put((result, error)), headers=headers)
            for at, name in itertools.product(range(5), names):
                client.async_stream_infer(
                    "both",
                    [grpc_tensor(1)],
                    sequence_id=name,
                    sequence_start=part == at == 0,
                    sequence_end=(part, at) == (1, 4),
                )
            for _ in range(10):
                result, error = told.get(timeout=PATIENT_S)
                assert error is None
                totals.append(int(result.as_numpy("OUTPUT")[0]))
            client.async_stream_infer("told", [grpc_tensor(1)], sequence_id=names[part])
            result, error = told.get(timeout=PATIENT_S)
            assert error is None
            said = result.get_response().parameters["sequence_id"]
            assert (said.string_param or said.int64_param) == names[part]
            client.async_stream_infer("sum", [grpc_tensor(1)], sequence_id="not-begun")
            _, error = told.get(timeout=PATIENT_S)
            assert "for sequence not-begun to model" in error.message()
    assert totals == [total for total in range(1, 11) for _ in names]


def test_a_sequence_whose_version_is_registered_no_more_is_told_so(scene: Scene) -> None:
    """409, never another version; begun anew, it goes on with what there is."""
    name = next(IDS)
    with scene.gateway.operator() as operator:
        operator.alias("going", "leaving@2", team=TEAM)
        wait_until(partial(answers, scene, "going"), "it is served")
        assert add(scene, "going", 1, sequence_id=name, sequence_start=True) == (1, "leaving/2")
        operator.alias("going", "leaving@1", team=TEAM)
        removing = {"force": "true", "reason": "it is wrong"}
        done(operator.delete("/models/leaving/versions/2", params=removing))

    def lost() -> bool:
        return all(ask(scene, "going", 1, sequence_id=name).status_code == 409 for _ in range(8))

    wait_until(lost, "the version is gone, at every worker")
    document = ask(scene, "going", 1, sequence_id=name).json()
    assert document["type"] == "urn:maas:problem:sequence-lost"
    assert (document["sequence_id"], document["reason"]) == (name, "version")
    assert "sequence_start" in document["error"]
    assert add(scene, "going", 1, sequence_id=name, sequence_start=True) == (1, "leaving/1")


def test_how_many_are_open_is_counted_once_for_the_host(scene: Scene) -> None:
    """Through whichever worker they came; those that have ended are not."""

    def open_now() -> float:
        page = httpx.get(f"{scene.gateway.control_url}/metrics", trust_env=False, timeout=PATIENT_S).text
        (line,) = (each for each in page.splitlines() if each.startswith("maas_sequences_open "))
        return float(line.split()[1])

    names = [next(IDS) for _ in range(10)]
    # Those that other tests have left open may lapse meanwhile.
    before = open_now()
    for name in names:
        add(scene, "sum", 1, sequence_id=name, sequence_start=True)
    assert 10 <= open_now() <= before + 10
    for name in names:
        add(scene, "sum", 1, sequence_id=name, sequence_end=True)
    wait_until(lambda: open_now() <= before, "they have ended")


def test_a_server_that_dies_takes_its_sequences_and_no_others(scene: Scene, models: Path) -> None:
    """503 while it is away, 409 once it is none of the pool's; what is at the other one goes on."""
    names: list[int] = []
    here, there = scene.servers
    with (
        start_triton(models) as third,
        scene.gateway.operator() as operator,
    ):
        operator.pool(
            "pair",
            here.http_url,
            third.http_url,
            grpc=[here.grpc_target, third.grpc_target],
        )

        def has_some() -> bool:
            names[:] = begun_at(scene, third)
            return bool(names)

        wait_until(has_some, "the third server has one")
        third.process.kill()
        third.process.wait()
        went_on = [ask(scene, "sum", 1, sequence_id=name) for name in names]
        assert {reply.status_code for reply in went_on} <= {200, 502, 503}
        lost = [name for name, reply in zip(names, went_on, strict=True) if reply.status_code != 200]
        again = [ask(scene, "sum", 1, sequence_id=name) for name in lost]
        assert {reply.status_code for reply in again} <= {502, 503}
        assert {reply.headers["Retry-After"] for reply in again} == {"1"}
        operator.pool(
            "pair",
            here.http_url,
            there.http_url,
            grpc=[here.grpc_target, there.grpc_target],
        )

        def told() -> bool:
            return all(ask(scene, "sum", 1, sequence_id=name).status_code == 409 for name in lost * 4)

        wait_until(told, "its sequences are told that it is gone, by every worker")
        assert ask(scene, "sum", 1, sequence_id=lost[0]).json()["reason"] == "endpoint"
        begun = [ask(scene, "sum", 1, sequence_id=name, sequence_start=True) for name in lost]
        assert {reply.status_code for reply in begun} == {200}


def test_json_that_hides_a_sequence_hides_nothing(scene: Scene) -> None:
    """Escapes are read as Triton reads them; two keys that are alike, and what only Triton can read, are refused."""
    tensor = '{"name":"INPUT","datatype":"INT32","shape":[1],"data":[1]}'
    name = next(IDS)
    whole_body = f'{{"inputs":[{tensor}],"parameters":{{"sequence\\u005fid":{name},"sequence_start":true}}}}'
    twice = f'{{"parameters":{{"sequence_id":1}},"inputs":[{tensor}],"param\\u0065ters":{{"sequence_id":2}}}}'
    inner = f'{{"inputs":[{tensor}],"parameters":{{"sequence_id":1,"sequence_id":2}}}}'
    odd = f'{{"inputs":[{tensor}],"x":NaN,"parameters":{{"sequence_id":1}}}}'

    def post(text: str) -> httpx.Response:
        return httpx.post(
            f"{scene.gateway.inference_url}/v2/models/sum/infer",
            content=text,
            headers=scene.shop.headers,
            trust_env=False,
            timeout=PATIENT_S,
        )

    assert post(whole_body).status_code == 200
    assert add(scene, "sum", 1, sequence_id=name, sequence_end=True)[0] == 2
    for text, said in (
        (twice, "'parameters' stands twice"),
        (inner, "'sequence_id' stands twice"),
        (odd, "cannot be read"),
    ):
        reply = post(text)
        assert reply.status_code == 400
        assert said in json.loads(reply.content)["error"]
