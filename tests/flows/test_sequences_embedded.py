"""Sequences in the embedded engine: as with Triton, but for that each worker's models keep their state by themselves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.harness import Gateway, install, wait_until
from tests.flows.conftest import SAMPLES, TEAM
from tests.flows.sequences import IDS, MODEL, Scene, add, answers, ask, whole

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", params=[1, 2])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A gateway of one worker, then one of two."""
    models = tmp_path_factory.mktemp("models")
    (models / MODEL).symlink_to(SAMPLES / MODEL)
    settings = {
        "MAAS_WORKERS": str(request.param),
        "MAAS_EMBEDDED__MODEL_REPOSITORY": str(models),
        "MAAS_EMBEDDED__PYTHON_MODELS": "true",
    }
    with (
        Gateway(install(tmp_path_factory.mktemp("embedded")), settings) as gateway,
        gateway.operator() as operator,
    ):
        operator.pool("here")
        operator.model(Path(SAMPLES / MODEL), team=TEAM, pool="here")
        operator.alias("sum", f"{MODEL}@1", team=TEAM)
        for app in ("shop", "bank"):
            operator.role(f"app:{app}", "consumer", TEAM)
        found = Scene(gateway, operator.key("app:shop"), operator.key("app:bank"))
        wait_until(lambda: answers(found, "sum"), "it is served")
        yield found


def alone(scene: Scene) -> bool:
    """Whether the gateway has one worker."""
    return scene.gateway.environment["MAAS_WORKERS"] == "1"


def test_a_sequence_goes_on_or_its_caller_is_told_that_it_cannot(scene: Scene) -> None:
    """Through one worker always; through two never with another's sum."""
    name = next(IDS)
    assert add(scene, "sum", 1, sequence_id=name, sequence_start=True)[0] == 1
    total = 1
    for _ in range(20):
        reply = ask(scene, "sum", 1, sequence_id=name)
        if reply.status_code == 200:
            total += 1
            assert reply.json()["outputs"][0]["data"] == [total]
        else:
            assert (reply.status_code, reply.json()["reason"]) == (409, "worker")
    assert total == 21 or not alone(scene)


@pytest.mark.parametrize("scene", [1], indirect=True)
def test_tenants_and_texts(scene: Scene) -> None:
    """The engine is told a number, and its words say the caller's id. Of two workers the other one may be asked next."""
    assert whole(scene, "sum", "text", [1, 2, 3]) == [1, 3, 6]
    for at, key in enumerate((scene.shop, scene.bank)):
        assert add(scene, "sum", at, key, sequence_id="same", sequence_start=True)[0] == at
    for at, key in enumerate((scene.shop, scene.bank)):
        assert add(scene, "sum", 10, key, sequence_id="same", sequence_end=True)[0] == 10 + at
    reply = ask(scene, "sum", 1, sequence_id="same")
    assert reply.status_code == 400
    assert "for sequence same to model" in reply.json()["error"]
