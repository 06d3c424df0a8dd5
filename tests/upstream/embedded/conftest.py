"""One engine on all test models, shared: it has no state that a test could spoil but its statistics."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.upstream.embedded import EmbeddedEngine
from tests.models.build import build_repository
from tests.upstream.embedded.models import build


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the models of both modules."""
    return build(build_repository(tmp_path_factory.mktemp("models"), python_models=False))


@pytest.fixture(scope="session")
def engine(model_folder: Path) -> Iterator[EmbeddedEngine]:
    """The engine, loaded."""
    engine = EmbeddedEngine(model_folder)
    engine.load()
    assert not engine.failures()
    yield engine
    engine.close()
