"""Records whose types fit and which are wrong all the same."""

import pytest

from gateway.artefacts.faults import canonical_licence, description_problems, record_problems
from gateway.artefacts.record import (
    BaseModel,
    DataSet,
    Dependency,
    ModelDescription,
    PipelineRun,
    RecordedFile,
    VersionRecord,
)

DIGEST = f"sha256:{7:064x}"


def test_licences_are_spdx_expressions() -> None:
    """Of the model, of dependencies and of data; one's own are LicenseRef-…; each fault has its place."""
    assert canonical_licence("apache-2.0 or mit") == "Apache-2.0 OR MIT"
    assert description_problems(ModelDescription(licence="LicenseRef-House-2")) == []
    bad = ModelDescription(licence="free", dependencies=[Dependency("a"), Dependency("b", licence="<b>")])
    assert [line.split(":")[0] for line in description_problems(bad)] == [
        "licence",
        "dependencies[1].licence",
    ]
    record = VersionRecord(data=[DataSet("training", "x", licence="Apache")])
    assert "'Apache' is no SPDX licence" in record_problems(record)[0]


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a/.", "a/"])
def test_a_recorded_path_stays_in_the_versions_folder(path: str) -> None:
    """A path that leads elsewhere is none of the version's files."""
    record = VersionRecord(files=[RecordedFile("model.onnx", 1, DIGEST), RecordedFile(path, 1, DIGEST)])
    assert record_problems(record) == [f"files[1].path: {path!r} is no path within the version's folder"]


def test_all_faults_are_told_together() -> None:
    """Names that stand twice, addresses that are none, runs without a name, numbers that are none."""
    record = VersionRecord(
        base_models=[BaseModel("a@1", "ensemble"), BaseModel("a@1", "adapter")],
        files=[RecordedFile("a", 1, DIGEST), RecordedFile("a", 1, DIGEST)],
        hyperparameters={"rate": float("nan"), "sizes": [1.0, float("inf")], "fine": 0.5},
        pipeline_run=PipelineRun(url="javascript:alert(1)"),
    )
    found = record_problems(record, "r.")
    assert [line.split(": ")[0] for line in found] == [
        "r.base_models[1].model",
        "r.hyperparameters.rate",
        "r.hyperparameters.sizes",
        "r.pipeline_run.url",
        "r.files[1].path",
    ]
    assert "give its id" in record_problems(VersionRecord(pipeline_run=PipelineRun()))[0]
