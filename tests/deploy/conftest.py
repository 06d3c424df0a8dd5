"""The overlays that the tests look at."""

import pytest

from tests.deploy.manifests import RENDERED, Manifest, render


@pytest.fixture(params=RENDERED)
def manifests(request: pytest.FixtureRequest) -> tuple[Manifest, ...]:
    """What each overlay renders to."""
    return render(request.param)
