"""The gateway's own code measured without sockets: every variant does the whole job."""

import json

import pytest

from loadtests.in_process import VARIANTS, main

pytestmark = pytest.mark.slow


def test_every_variant_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """A reply that is no 200 would end it."""
    assert main(["--rounds", "2", "--requests", "50", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == list(VARIANTS)
    assert all(len(figures) == 2 and min(figures) > 0 for figures in found.values())


def test_an_unknown_variant_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """With those that there are."""
    with pytest.raises(SystemExit):
        main(["--variants", "plain,fast"])
    assert "no such variant: fast; there are plain, quotas, samples, both" in capsys.readouterr().err
