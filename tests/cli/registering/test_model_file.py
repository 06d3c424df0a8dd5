"""model.yaml: read strictly, its faults told together, and true for the sample models."""

import hashlib
from pathlib import Path

import pytest

from gateway.artefacts.files import ArtefactRefused
from gateway.cli.registering.folder import read_model_folder
from gateway.cli.registering.model_file import ModelFileRefused, read_model_file

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "model_repository"


def written(folder: Path, text: str) -> Path:
    path = folder / "model.yaml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ModelFileRefused) as refused:
        read_model_file(written(folder, text))
    return refused.value.problems


@pytest.mark.parametrize("name", ["digits", "digits-names", "digits-label", "running-sum", "tiny-lm"])
def test_the_sample_models_say_what_is_true(name: str) -> None:
    """All that they claim fits configuration and graph, and every digest of a file that is here is that file's."""
    folder = read_model_folder(SAMPLES / name)
    assert folder.description is not None
    assert folder.description.licence == "Apache-2.0"
    for version in folder.versions.values():
        assert version.differences == []
        assert version.record.signature is not None
        assert version.record.code is not None
        assert (ROOT / str(version.record.code.path)).is_file()
        for data in version.record.data or ():
            assert data.location is not None
            path = ROOT / data.location
            if not path.is_file():
                from sklearn import datasets

                path = Path(datasets.__file__).parent / "data" / "digits.csv.gz"
                assert data.location.startswith("sklearn/datasets/data/digits.csv.gz")
            assert data.digest == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_a_version_may_have_a_signature_of_its_own(tmp_path: Path) -> None:
    """Else it has the file's."""
    path = written(
        tmp_path,
        """
signature: {inputs: [{name: a, datatype: FP32, shape: [1]}], outputs: [{name: b, datatype: FP32, shape: [1]}]}
versions:
  1: {command: make}
  2:
    signature: {inputs: [{name: c, datatype: FP32, shape: [1]}], outputs: [{name: b, datatype: FP32, shape: [1]}]}
""",
    )
    found = read_model_file(path)
    names = [origin.signature.inputs[0].name for v in (1, 2, 3) if (origin := found.origin(v)).signature]
    assert names == ["a", "c", "a"]
    assert found.origin(1).command == "make"


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    """Which is no fault."""
    found = read_model_file(written(tmp_path, "# later\n"))
    assert found.description.description is None
    assert found.description.risk == "Unknown"


def test_all_faults_are_told_with_their_lines(tmp_path: Path) -> None:
    """Unknown keys, wrong types, words that are none of the choices, missing ones: each once, in one go."""
    found = problems(
        tmp_path,
        """\
description: [not, text]
colour: blue
risk: Severe
stakeholders:
  - person: Ana
  - {person: 7, role: owner}
versions:
  1:
    data:
      - {use: training, name: x, digest: md5:0}
    code: {repository: r, commit: HEAD}
    hyperparameters: {fine: 1, wrong: {deep: 1}}
    base_models: [{model: a, relation: cousin}]
""",
    )
    begins = [each.partition(": ")[0] + ": " + each.split(": ")[1] for each in found]
    assert begins == [
        "model.yaml line 1: description",
        "model.yaml line 2: colour",
        "model.yaml line 3: risk",
        "model.yaml line 5: stakeholders[0].role",
        "model.yaml line 6: stakeholders[1].person",
        "model.yaml line 10: versions.1.data[0].digest",
        "model.yaml line 11: versions.1.code.commit",
        "model.yaml line 12: versions.1.hyperparameters.wrong",
        "model.yaml line 13: versions.1.base_models[0].relation",
    ]


def test_faults_of_meaning_are_told_with_their_lines(tmp_path: Path) -> None:
    """What fits its type and is wrong all the same; versions that are none."""
    found = problems(
        tmp_path,
        """\
licence: mine
versions:
  01: {}
  2:
    pipeline_run: {url: ftp://x/y}
""",
    )
    assert [each.split(": ")[:2] for each in found] == [
        ["model.yaml line 1", "licence"],
        ["model.yaml line 3", "versions.01"],
        ["model.yaml line 5", "versions.2.pipeline_run.url"],
    ]


def test_markup_stays_text(tmp_path: Path) -> None:
    """It is kept as it is written, for whoever shows it to escape; control characters are none."""
    text = "<script>alert(1)</script> {{ 7 * 7 }} =cmd()"
    found = read_model_file(written(tmp_path, f'description: "{text}"\n'))
    assert found.description.description == text
    assert "description" in problems(tmp_path, 'description: "a\\x1b[31mred"\n')[0]


def test_a_file_that_is_too_large_or_a_link_is_refused(tmp_path: Path) -> None:
    """Before it is read as anything."""
    path = written(tmp_path, "description: |\n" + "  x\n" * 100_000)
    with pytest.raises(ArtefactRefused, match="larger than 262144 bytes"):
        read_model_file(path)
    path.unlink()
    path.symlink_to("/etc/hostname")
    with pytest.raises(ArtefactRefused, match="link"):
        read_model_file(path)


def test_a_version_that_has_no_folder_is_refused(tmp_path: Path) -> None:
    """The file would speak of something that is not there."""
    folder = tmp_path / "digits"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.plan").write_bytes(b"x")
    (folder / "config.pbtxt").write_text('backend: "tensorrt"')
    written(folder, "versions: {1: {}, 4: {}}\n")
    with pytest.raises(Exception, match=r"versions\.4: has no folder"):
        read_model_folder(folder)
