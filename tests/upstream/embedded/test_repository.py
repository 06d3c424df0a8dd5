"""A model repository as Triton reads it: policies, completion, and reasons for what cannot be served."""

import json
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto

from gateway.upstream.embedded import EmbeddedEngine
from gateway.upstream.embedded.session import CPU, CUDA, choose_providers
from tests.upstream.embedded.calls import ask, binary, error, infer, outputs, parsed, request, tensor
from tests.upstream.embedded.models import add_sub, copies, softmax, write

IO = (
    'input [ { name: "image" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'
    'output [ { name: "probabilities" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'
)
CONFIG = f'backend: "onnxruntime"\nmax_batch_size: 8\n{IO}'


def loaded(folder: Path) -> EmbeddedEngine:
    engine = EmbeddedEngine(folder)
    engine.load()
    return engine


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        ("", {10}),
        ("version_policy { all {} }", {1, 2, 10}),
        ("version_policy { latest { num_versions: 2 } }", {2, 10}),
        ("version_policy { latest {} }", {10}),
        ("version_policy { latest { num_versions: 9 } }", {1, 2, 10}),
        ("version_policy { specific { versions: [ 1, 10 ] } }", {1, 10}),
    ],
)
def test_the_policy_chooses_the_versions(tmp_path: Path, policy: str, versions: set[int]) -> None:
    """All, the latest by number and not by letter, or those named; the latest one where nothing is said."""
    write(tmp_path, "m", CONFIG + policy, softmax(), (1, 2, 10))
    engine = loaded(tmp_path)
    assert engine.ready_versions() == {("m", version) for version in versions}
    assert not engine.failures()


def test_a_folder_that_is_no_models_is_left_alone(tmp_path: Path) -> None:
    """A repository may be a volume of its own, with the lost+found that only root looks into."""
    write(tmp_path, "m", CONFIG, softmax())
    (tmp_path / "lost+found" / "1").mkdir(parents=True)
    engine = loaded(tmp_path)
    assert engine.ready_versions() == {("m", 1)}
    assert not engine.failures()


def test_a_version_that_is_named_and_missing_is_a_failure(tmp_path: Path) -> None:
    """The others are served; asking for this one says that it is not ready."""
    write(tmp_path, "m", CONFIG + "version_policy { specific { versions: [ 1, 7 ] } }", softmax())
    engine = loaded(tmp_path)
    assert engine.ready_versions() == {("m", 1)}
    assert "has no folder" in engine.failures()["m", 7]
    assert "not at ready state" in error(infer_version(engine, 7), 503)
    assert "is not found" in error(infer_version(engine, 2), 404)


def infer_version(engine: EmbeddedEngine, version: int) -> Any:
    return ask(engine, "infer", "m", request(tensor("image", "FP32", [1, 4], [1] * 4)), version=version)


def test_only_plain_numbers_are_versions(tmp_path: Path) -> None:
    """Folders of other names, and files, are no versions."""
    folder = write(tmp_path, "m", CONFIG + "version_policy { all {} }", softmax())
    for name in ("0", "01", "-1", "v2", "2.0", ".3", "9" * 30):
        (folder / name).mkdir()
    (folder / "2").write_text("a file")
    engine = loaded(tmp_path)
    assert engine.ready_versions() == {("m", 1)}
    assert not engine.failures()


def test_one_broken_version_leaves_the_others(tmp_path: Path) -> None:
    """A file that is no model is kept with its reason, and answered with 503."""
    folder = write(tmp_path, "m", CONFIG + "version_policy { all {} }", softmax(), (1, 2))
    (folder / "2" / "model.onnx").write_bytes(b"junk")
    engine = loaded(tmp_path)
    assert engine.ready_versions() == {("m", 1)}
    assert engine.failures()["m", 2].startswith("onnx runtime error")
    assert infer_version(engine, 1).status == 200
    for operation in ("infer", "metadata", "config", "generate"):
        assert "not at ready state" in error(ask(engine, operation, "m", version=2), 503)
    for operation in ("ready", "stats"):
        assert error(ask(engine, operation, "m", version=2))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ('backend: "python"', "embedded.python_models"),
        ('backend: "pytorch"', "backend 'pytorch'"),
        ('platform: "tensorrt_plan"', "backend 'tensorrt_plan'"),
        ('name: "other" ' + CONFIG, "unexpected directory name 'm' for model 'other'"),
        ("max_batch_size: twelve", "failed to read text proto"),
        ("no_such_field: 1", "failed to read text proto"),
        (CONFIG.replace("8", "-1"), "max_batch_size"),
        (CONFIG + "sequence_batching {}", "sequence_batching"),
        (CONFIG + "model_transaction_policy { decoupled: true }", "decoupled"),
        (CONFIG.replace('"image"', '"picture"'), "unexpected tensor 'picture'"),
        (CONFIG.replace("TYPE_FP32", "TYPE_FP64"), "expects datatype TYPE_FP64"),
        (CONFIG.replace("[ 4 ]", "[ 5 ]"), "the model expects 2 dimensions (shape [-1,4])"),
        (CONFIG.replace("[ 4 ]", "[ 4, 1 ]"), "(shape [-1,4,1])"),
        (
            CONFIG.replace("dims: [ 4 ] }", "dims: [ 4 ] reshape { shape: [ -1 ] } }"),
            "mismatch between dims and reshape",
        ),
        (CONFIG.replace("data_type: TYPE_FP32 ", ""), "data type is not specified"),
        (
            CONFIG.replace("} ]\n", 'label_filename: "none.txt" } ]\n').replace(
                'label_filename: "none.txt"', "", 1
            ),
            "unable to read label file",
        ),
        (CONFIG + 'default_model_filename: "other.onnx"', "no such file"),
        (CONFIG + 'default_model_filename: "../../../secret"', "lies outside the folder"),
        (
            CONFIG + 'parameters { key: "intra_op_thread_count" value { string_value: "many" } }',
            "not a number of threads",
        ),
    ],
)
def test_what_cannot_be_served_says_why(tmp_path: Path, config: str, reason: str) -> None:
    """The model is not loaded, with a reason; the models beside it are."""
    write(tmp_path, "m", config, softmax())
    write(tmp_path, "good", CONFIG, softmax())
    engine = loaded(tmp_path)
    assert engine.ready_versions() == {("good", 1)}
    assert reason in engine.failures()["m", 1]


def test_a_model_without_versions_is_a_failure(tmp_path: Path) -> None:
    """It stands under version 0, which nobody can call."""
    write(tmp_path, "m", CONFIG, softmax(), ())
    assert loaded(tmp_path).failures() == {("m", 0): "at least one version must be available for model 'm'"}


def test_other_things_in_the_repository_are_no_models(tmp_path: Path) -> None:
    """Files, and folders with neither a configuration nor a version."""
    (tmp_path / "README.md").write_text("no model")
    (tmp_path / "scripts").mkdir()
    engine = loaded(tmp_path)
    assert not engine.ready_versions()
    assert not engine.failures()


def test_a_file_may_have_another_name(tmp_path: Path) -> None:
    """`default_model_filename` names it."""
    folder = write(tmp_path, "m", CONFIG + 'default_model_filename: "other.onnx"', softmax())
    (folder / "1" / "model.onnx").rename(folder / "1" / "other.onnx")
    assert loaded(tmp_path).ready_versions() == {("m", 1)}


def test_a_missing_configuration_is_completed(tmp_path: Path) -> None:
    """A model whose first dimensions all vary can batch: four at most, as Triton has it, the batch not in `dims`."""
    (write(tmp_path, "m", "", add_sub()) / "config.pbtxt").unlink()
    engine = loaded(tmp_path)
    config = parsed(ask(engine, "config", "m"))
    assert (config["name"], config["max_batch_size"], config["backend"]) == ("m", 4, "onnxruntime")
    assert [entry["name"] for entry in config["input"]] == ["INPUT0", "INPUT1"]
    assert {(entry["data_type"], *entry["dims"]) for entry in config["input"] + config["output"]} == {
        ("TYPE_INT32", 4)
    }
    assert "dynamic_batching" in config
    five = [tensor(name, "INT32", [5, 4], [1] * 20) for name in ("INPUT0", "INPUT1")]
    assert "batch-size must be <= 4" in error(infer(engine, "m", request(*five)))


def test_a_model_that_cannot_batch_is_completed_without(tmp_path: Path) -> None:
    """Fixed first dimensions stay in `dims`, and a batch size for them is refused."""
    fixed = copies(("x", "y", TensorProto.FLOAT), dims=(2, "n"))
    write(tmp_path, "m", 'backend: "onnxruntime"', fixed)
    write(tmp_path, "wrong", "max_batch_size: 4", fixed)
    engine = loaded(tmp_path)
    config = parsed(ask(engine, "config", "m"))
    assert (config["max_batch_size"], config["input"][0]["dims"]) == (0, [2, -1])
    assert "does not support batching" in engine.failures()["wrong", 1]


def test_a_scalar_is_one_element(tmp_path: Path) -> None:
    """A configuration cannot hold a tensor without dimensions: callers send one element, the model gets a scalar."""
    write(tmp_path, "m", "", copies(("x", "y", TensorProto.FLOAT), dims=()))
    entry = outputs(infer(loaded(tmp_path), "m", request(tensor("x", "FP32", [1], [2.5]))))["y"]
    assert (entry["shape"], entry["data"]) == ([1], [2.5])


@pytest.mark.parametrize("columns", [8, 0])
def test_bfloat16_passes_by_its_bits(tmp_path: Path, columns: int) -> None:
    """BF16 has no numpy type and no JSON form, and still comes back bit by bit, an empty tensor too."""
    write(tmp_path, "m", "", copies(("x", "y", TensorProto.BFLOAT16), dims=(2, "n")))
    raw = bytes(range(4 * columns))
    sent = tensor("x", "BF16", [2, columns], binary_data_size=len(raw))
    reply = infer(loaded(tmp_path), "m", *binary(request(sent, parameters={"binary_data_output": True}), raw))
    entry = outputs(reply)["y"]
    assert (entry["datatype"], entry["shape"]) == ("BF16", [2, columns])
    assert entry["parameters"] == {"binary_data_size": len(raw)}
    assert reply.body.endswith(raw)


def test_the_printed_configuration_has_tritons_fields(tmp_path: Path) -> None:
    """What was left out is printed with the value that it has."""
    write(tmp_path, "m", CONFIG + "instance_group [ { kind: KIND_CPU count: 3 }, { count: 1 } ]", softmax())
    config = json.loads(ask(loaded(tmp_path), "config", "m").body)
    assert list(config) == [
        *("name", "platform", "backend", "runtime", "version_policy", "max_batch_size", "input", "output"),
        *("batch_input", "batch_output", "optimization", "instance_group", "default_model_filename"),
        *("cc_model_filenames", "metric_tags", "parameters", "model_warmup"),
    ]
    assert config["version_policy"] == {"latest": {"num_versions": 1}}
    groups = [(group["name"], group["kind"], group["count"]) for group in config["instance_group"]]
    assert groups == [("m_0", "KIND_CPU", 3), ("m_1", "KIND_CPU", 1)]


@pytest.mark.parametrize(
    ("available", "wanted", "chosen"),
    [
        ([CPU], True, [CPU]),
        ([CPU], False, [CPU]),
        (["TensorrtExecutionProvider", CUDA, CPU], True, [CUDA, CPU]),
        ([CUDA, CPU], False, [CPU]),
    ],
)
def test_a_gpu_is_used_where_there_is_one(available: list[str], wanted: bool, chosen: list[str]) -> None:
    """CUDA where onnxruntime offers it and the configuration allows it, with the CPU for what CUDA lacks."""
    assert choose_providers(available, gpu_wanted=wanted) == chosen


@pytest.mark.parametrize(
    ("groups", "wanted"),
    [
        ("", True),
        ("kind: KIND_AUTO", True),
        ("kind: KIND_GPU", True),
        ("kind: KIND_CPU", False),
        ("kind: KIND_MODEL", False),
    ],
)
def test_the_configuration_says_where_a_model_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str, wanted: bool
) -> None:
    """GPU instances, automatic ones and unsaid ones may run on a GPU."""
    from gateway.upstream.embedded import session

    asked: list[bool] = []

    def remember(available: Any, *, gpu_wanted: bool) -> list[str]:
        asked.append(gpu_wanted)
        return [CPU]

    monkeypatch.setattr(session, "choose_providers", remember)
    write(tmp_path, "m", CONFIG + (f"instance_group [ {{ {groups} }} ]" if groups else ""), softmax())
    assert loaded(tmp_path).ready_versions()
    assert asked == [wanted]
