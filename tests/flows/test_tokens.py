"""One issuer for both planes: who has its token needs no key anywhere, and tritonclient sends it as any credential."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput

from tests.contract.harness import Gateway, Key, install, target, wait_until
from tests.flows.conftest import DIGITS, EMBEDDED, TEAM, Caller
from tests.tokens.issuer import Issuer, Signer

pytestmark = pytest.mark.slow


class Trusting(NamedTuple):
    """A gateway and the issuer that it trusts."""

    gateway: Gateway
    issuer: Issuer

    def key(self, **claims: object) -> Key:
        """A token where others have a key."""
        return Key("", self.issuer.token(**claims))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trusting]:
    """Both planes in one process; groups of the issuer give roles, and no row of the policy names anybody of theirs."""
    issuer = Issuer(Signer("first", "ES256"))
    installation = install(tmp_path_factory.mktemp("trusting"))
    roles = "".join(
        f'[[issuers.company.roles]]\nclaim = "groups"\nvalue = "{group}"\nrole = "role:{role}"\nteam = "{TEAM}"\n'
        for group, role in (("shop", "consumer"), ("leads", "owner"))
    )
    with installation.config.open("a") as settings:
        settings.write(
            f'\n[issuers.company]\nissuer = "{issuer.url}"\naudience = ["maas"]\nprincipal = "user:{{sub}}"\n'
            f"refresh_s = 1\n{roles}"
        )
    with Gateway(installation, EMBEDDED) as gateway:
        with gateway.operator() as operator:
            operator.pool("here")
            operator.model(DIGITS, team=TEAM, pool="here")
            operator.alias("digits", "digits@1=10000", team=TEAM, reason="the first")
        yield Trusting(gateway, issuer)
    issuer.close()


def test_a_token_flips_an_alias_and_another_calls_it(trusting: Trusting) -> None:
    """By their groups alone, and neither may do what the other may; the history names the person."""
    shop, lead = trusting.key(sub="ben", groups=["shop"]), trusting.key(sub="ana", groups=["leads"])
    with Caller(trusting.gateway.inference, shop) as caller:
        wait_until(
            lambda: caller.infer("digits").status == 200, "the issuer's keys and the alias are there", 20
        )
        with trusting.gateway.operator(shop.text) as operator:
            seen = operator.get("/aliases/digits")
            body = {"targets": [target("digits@2")]}
            refused = operator.put("/aliases/digits", json=body, headers={"If-Match": seen.headers["ETag"]})
            assert refused.status_code == 403
        with trusting.gateway.operator(lead.text) as operator:
            operator.alias("digits", "digits@2=10000", reason="by token")
        wait_until(lambda: caller.infer("digits").served_by == "digits/2", "the flip is live", 5)
    with trusting.gateway.operator() as operator:
        history = operator.get("/aliases/digits/history").json()
    assert "user:ana" in str(history)


def test_tritonclient_sends_a_token_as_any_credential(trusting: Trusting) -> None:
    """A header, as with a key."""
    token = trusting.key(sub="ben", groups=["shop"])
    client = InferenceServerClient(trusting.gateway.inference)
    image = InferInput("image", [1, 64], "FP32")
    image.set_data_from_numpy(np.zeros((1, 64), dtype=np.float32))
    wait_until(lambda: client.is_model_ready("digits", headers=token.headers), "the model is ready", 20)
    result = client.infer("digits", [image], headers=token.headers)
    assert result.as_numpy("probabilities").shape == (1, 10)
    client.close()


def test_the_issuer_is_gone_and_the_gateway_restarted(trusting: Trusting) -> None:
    """Inference and changes go on with the last good keys."""
    data: Path = trusting.gateway.installation.data_dir
    wait_until((data / "issuers" / "company").exists, "the keys are on disk", 20)
    trusting.issuer.close()
    assert trusting.gateway.stop() == 0
    trusting.gateway.start()
    lead = trusting.key(sub="ana", groups=["leads"], exp=int(time.time()) + 600)
    with Caller(trusting.gateway.inference, lead) as caller, trusting.gateway.operator(lead.text) as operator:
        wait_until(lambda: caller.infer("digits").status == 200, "calls by token go on", 20)
        operator.alias("digits", "digits@1=10000", reason="by token, the issuer away")
        wait_until(lambda: caller.infer("digits").served_by == "digits/1", "the flip is live", 5)
