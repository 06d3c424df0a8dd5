"""Configuration, graph and declaration held against one another."""

import shutil
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from gateway.cli.output import Refused
from gateway.cli.registering.folder import ModelFolder, read_model_folder

SAMPLES = Path(__file__).parents[3] / "model_repository"


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A copy of the sample model, to be damaged."""
    return Path(shutil.copytree(SAMPLES / "digits", tmp_path / "digits"))


def changed(folder: Path, file: str, old: str, new: str) -> ModelFolder:
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return read_model_folder(folder)


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        (
            "model.yaml",
            "name: image",
            "name: picture",
            ["image: config.pbtxt has it", "picture: model.yaml has"],
        ),
        (
            "model.yaml",
            "datatype: FP32, shape: [-1, 64]",
            "datatype: FP16, shape: [-1, 64]",
            ["image: FP16 by"],
        ),
        ("model.yaml", "[-1, 10]", "[-1, 11]", ["probabilities: shape [-1,11] by model.yaml, [-1,10]"]),
        (
            "config.pbtxt",
            "dims: [ 64 ]",
            "dims: [ 63 ]",
            ["[-1,64] by model.yaml, [-1,63]", "image: shape [-1,63] by config.pbtxt, [-1,64] by the graph"],
        ),
        (
            "config.pbtxt",
            "max_batch_size: 1024",
            "max_batch_size: 0",
            [
                "[-1,64] by model.yaml, [64] by config.pbtxt",
                "[-1,10] by model.yaml, [10] by config.pbtxt",
                "image: shape [64] by config.pbtxt, [-1,64] by the graph",
                "probabilities: shape [10] by config.pbtxt, [-1,10] by the graph",
            ],
        ),
        (
            "config.pbtxt",
            'name: "probabilities"\n    data_type: TYPE_FP32',
            'name: "scores"\n    data_type: TYPE_FP64',
            [
                "probabilities: model.yaml has it",
                "scores: config.pbtxt has it",
                "scores: config.pbtxt has it, the graph",
            ],
        ),
    ],
)
def test_each_difference_is_named(digits: Path, file: str, old: str, new: str, words: list[str]) -> None:
    """Once for every version that it is true of, with whose word is which."""
    found = changed(digits, file, old, new)
    for version in found.versions.values():
        assert len(version.differences) == len(words), version.differences
        assert all(w in line for w, line in zip(words, version.differences, strict=True)), version.differences


def test_a_graph_of_another_shape_is_found_in_its_version_alone(digits: Path) -> None:
    """Version 2 takes 49 pixels of another type and has no batch that varies; 1 and 3 are as they were."""
    ends = [
        helper.make_tensor_value_info("image", TensorProto.DOUBLE, [1, 49]),
        helper.make_tensor_value_info("probabilities", TensorProto.DOUBLE, [1, 49]),
    ]
    node = helper.make_node("Identity", ["image"], ["probabilities"])
    onnx.save(
        helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:])), digits / "2" / "model.onnx"
    )
    found = read_model_folder(digits).versions
    assert found[1].differences == found[3].differences == []
    text = "; ".join(found[2].differences)
    assert "input image: max_batch_size is 1024 by config.pbtxt, but the graph's shape [1,49]" in text
    assert "input image: FP32 by config.pbtxt, FP64 by the graph" in text
    assert "output probabilities: shape [-1,10] by config.pbtxt, [1,49] by the graph" in text


def test_the_graph_speaks_where_the_configuration_is_silent(digits: Path) -> None:
    """As Triton fills it in; the declaration is then held against the graph."""
    (digits / "config.pbtxt").write_text('backend: "onnxruntime"\nmax_batch_size: 8\n')
    assert all(not each.differences for each in read_model_folder(digits).versions.values())
    found = changed(digits, "model.yaml", "[-1, 64]", "[-1, 65]").versions[1]
    assert found.differences == ["input image: shape [-1,65] by model.yaml, [-1,64] by the graph"]
    (digits / "model.yaml").unlink()
    signature = read_model_folder(digits).versions[1].record.signature
    assert signature is not None
    assert (signature.inputs[0].name, signature.inputs[0].shape) == ("image", [-1, 64])


def test_without_a_model_file_all_that_can_be_read_is(digits: Path) -> None:
    """Files and signature are known, the rest is not."""
    (digits / "model.yaml").unlink()
    folder = read_model_folder(digits)
    record = folder.versions[1].record
    assert folder.description is None
    assert [each.path for each in record.files or ()] == ["model.onnx"]
    assert record.signature is not None
    assert (record.data, record.code, record.base_models, record.command) == (None, None, None, None)


def test_the_steps_of_an_ensemble_are_found_by_themselves(tmp_path: Path) -> None:
    """And a step that is declared and is none is refused."""
    folder = Path(shutil.copytree(SAMPLES / "digits-label", tmp_path / "digits-label"))
    record = read_model_folder(folder).versions[1].record
    assert [(each.model, each.relation) for each in record.base_models or ()] == [
        ("digits@2", "ensemble"),
        ("digits-names@1", "ensemble"),
    ]
    text = (folder / "model.yaml").read_text()
    declared = "  1:\n    base_models: [{model: digits@1, relation: ensemble}]\n"
    (folder / "model.yaml").write_text(text.replace("  1:\n", declared))
    assert ["digits@1" in each for each in read_model_folder(folder).versions[1].differences] == [True]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ('name: "other"', "is of 'other'"),
        ("max_batch_size: -1", "negative"),
        ("colour: blue", "no model configuration"),
        ('default_model_filename: "../../secret.onnx"', "leaves the version's folder"),
        ('default_model_filename: "/etc/passwd"', "leaves the version's folder"),
        ('input { name: "x" dims: [1] }', "no data type"),
        ("#" * (1 << 20) + "\n", "larger than"),
    ],
)
def test_a_configuration_that_is_none_is_refused(digits: Path, config: str, words: str) -> None:
    """With the file and why."""
    (digits / "config.pbtxt").write_text(config)
    with pytest.raises(Refused, match=words):
        read_model_folder(digits)


def test_a_graph_that_is_none_is_refused(digits: Path) -> None:
    """Garbage, and a page of HTML under the name of a model; the other versions are as good as they were."""
    for content in (b"<html>not found</html>", b"", b"\x08\x08" * 1000):
        (digits / "3" / "model.onnx").write_bytes(content)
        found = read_model_folder(digits).versions
        assert "no ONNX file" in found[3].differences[0]
        assert found[1].differences == []


def test_a_configuration_or_model_file_behind_a_link_is_refused(digits: Path, tmp_path: Path) -> None:
    """What it leads to could change unseen, and be anybody's."""
    for name in ("config.pbtxt", "model.yaml"):
        moved = tmp_path / name
        (digits / name).rename(moved)
        (digits / name).symlink_to(moved)
        with pytest.raises(Refused, match="link"):
            read_model_folder(digits)
        (digits / name).unlink()
        moved.rename(digits / name)
    read_model_folder(digits)


@pytest.mark.parametrize(
    ("location", "stray"),
    [("weights.bin", False), ("../3/model.onnx", True), ("/etc/passwd", True), ("missing.bin", True)],
)
def test_weights_lie_in_the_versions_own_files(digits: Path, location: str, stray: bool) -> None:
    """A path of external data that leaves the folder, or leads to nothing there, would be read by whoever loads it."""
    path = digits / "1" / "model.onnx"
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path.write_bytes(model.SerializeToString())
    (digits / "1" / "weights.bin").write_bytes(b"\0\0\0\0")
    found = read_model_folder(digits).versions
    assert [repr(location) in each for each in found[1].differences] == [True] * stray
    assert found[2].differences == []


def test_every_file_is_listed_with_its_digest(digits: Path) -> None:
    """In folders too; the names are relative."""
    (digits / "1" / "assets").mkdir()
    (digits / "1" / "assets" / "vocabulary.txt").write_text("a\n")
    files = {each.path: each for each in read_model_folder(digits).versions[1].record.files or ()}
    assert set(files) == {"model.onnx", "assets/vocabulary.txt"}
    assert files["assets/vocabulary.txt"].size_bytes == 2
