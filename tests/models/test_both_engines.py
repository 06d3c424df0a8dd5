"""The sample models are the same to a caller, whichever engine serves them."""

import pytest

from tests.models.conftest import Engine

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("model", ["digits", "tiny-lm", "running-sum", "digits-names", "digits-label"])
def test_both_engines_describe_a_model_alike(triton: Engine, embedded: Engine, model: str) -> None:
    """Metadata and configuration are those of a real Triton, field by field."""
    for what in ("metadata", "config"):
        theirs, ours = triton.described(model, what), embedded.described(model, what)
        # What stands in for the ONNX backend in the packaged Triton shows itself here.
        assert theirs.pop("runtime", "") in ("", "model.py")
        ours.pop("runtime", None)
        # A field that is younger than this Triton.
        ours.get("ensemble_scheduling", {}).pop("max_inflight_requests", None)
        assert ours == theirs
