"""A worker that serves from Triton pools alone does not pay for the engine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"numpy", "onnxruntime", "tritonclient", "google.protobuf", "grpc"}
SHOW = "import sys; print(*sorted(set(sys.modules)))"


def modules_after(code: str) -> set[str]:
    """The modules in a fresh interpreter that has run `code`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{SHOW}"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    """Neither onnxruntime nor numpy nor protobuf is loaded until an engine is made."""
    loaded = modules_after("import gateway.upstream.embedded")
    assert "gateway.upstream.embedded.engine" in loaded
    assert not loaded & HEAVY


def test_an_engine_reads_configurations_without_grpc(model_folder: Path) -> None:
    """The configuration's schema comes from tritonclient's file alone: grpcio stays out of the process."""
    code = (
        "from pathlib import Path; from gateway.upstream.embedded import EmbeddedEngine\n"
        f"engine = EmbeddedEngine(Path({str(model_folder)!r})); engine.load(); assert engine.ready_versions()"
    )
    assert modules_after(code) & HEAVY == HEAVY - {"grpc", "tritonclient"}


@pytest.mark.parametrize("first", ["grpc", "engine"])
def test_the_schema_lives_beside_tritonclients_own(model_folder: Path, first: str) -> None:
    """A process may use the engine and tritonclient over gRPC, whichever comes first."""
    steps = {
        "engine": f"engine = EmbeddedEngine(Path({str(model_folder)!r})); engine.load(); assert engine.ready_versions()",
        "grpc": "import tritonclient.grpc; tritonclient.grpc.model_config_pb2.ModelConfig(name='x')",
    }
    order = [first, *(step for step in steps if step != first)]
    code = "from pathlib import Path; from gateway.upstream.embedded import EmbeddedEngine\n"
    assert "grpc" in modules_after(code + "\n".join(steps[step] for step in order))


def test_the_engine_reports_to_nobody(model_folder: Path, tmp_path: Path) -> None:
    """The telemetry of onnxruntime is off; it would keep a device id and a queue of events in the user's home."""
    code = (
        "from pathlib import Path; from gateway.upstream.embedded import EmbeddedEngine\n"
        f"engine = EmbeddedEngine(Path({str(model_folder)!r})); engine.load(); assert engine.ready_versions()"
    )
    # Among those who hide that it is on: continuous integration, and whoever has turned it off already.
    hiding = {"CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"}
    environ = {name: value for name, value in os.environ.items() if name not in hiding}
    subprocess.run([sys.executable, "-c", code], check=True, env=environ | {"HOME": str(tmp_path)})
    assert list(tmp_path.rglob("*")) == []
