"""`maas model register`, `list` and `show` against a real gateway."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import REPOSITORY, Maas

pytestmark = pytest.mark.slow

Ask = Callable[..., Any]
VISION = ("--team", "vision", "--pool", "local")


@pytest.fixture(autouse=True)
def local(run: Maas) -> None:
    """The pool that all models here are in."""
    assert run("pool", "set", "local", "--engine", "embedded").exit_code == 0


@pytest.fixture
def model(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of `digits` under a name of the test's own."""
    name = request.node.name.replace("_", "-")[:60]
    folder = Path(shutil.copytree(REPOSITORY / "digits", tmp_path / name))
    replace(folder / "config.pbtxt", 'name: "digits"', f'name: "{name}"')
    return folder


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_samples_are_registered_with_all_that_is_known(run: Maas, ask: Ask) -> None:
    """Once; the same again changes nothing; what is shown reads well."""
    done = run("model", "register", REPOSITORY / "digits", *VISION)
    assert done.exit_code == 0, done.output
    assert "versions 1, 2, 3" in done.stdout
    assert "version 2 is new: 1 files" in done.stdout
    again = run("model", "register", REPOSITORY / "digits")
    assert "Nothing has changed" in again.stdout
    assert ask("model", "register", REPOSITORY / "digits")["changed"] is False
    shown = ask("model", "show", "digits@2")
    assert shown["record"]["hyperparameters"]["epochs"] == 120
    assert shown["record"]["files"][0]["path"] == "model.onnx"
    text = run("model", "show", "digits@2").stdout
    for words in (
        "risk: Low",
        "CC-BY-4.0",
        "[-1,64]",
        "model_repository/train_digits.py",
        "epochs=120",
        "model.onnx",
    ):
        assert words in text, text
    text = run("model", "show", "digits").stdout
    assert "team vision" in text
    assert "Apache-2.0" in text
    assert run("model", "show", "digits@9").exit_code == 1


def test_a_dry_run_says_what_would_be(run: Maas, ask: Ask, model: Path) -> None:
    """And the model is not there afterwards."""
    done = run("model", "register", model, *VISION, "--dry-run")
    assert done.exit_code == 0, done.output
    assert "this was a dry run" in done.stdout
    assert ask("model", "register", model, *VISION, "--dry-run")["dry_run"] is True
    assert run("model", "show", model.name).exit_code == 1


def test_without_a_model_file_the_record_says_what_is_not_known(run: Maas, model: Path) -> None:
    """It is registered all the same; a model file that comes later adds to it."""
    moved = model.parent / "model.yaml"
    (model / "model.yaml").rename(moved)
    done = run("model", "register", model, *VISION)
    assert done.exit_code == 0, done.output
    assert "not known: base models, data, code" in done.stdout
    assert "no model.yaml" in done.stdout
    assert "licence: not known" in run("model", "show", model.name).stdout
    assert "data: not known" in run("model", "show", f"{model.name}@1").stdout
    moved.rename(model / "model.yaml")
    assert run("model", "register", model).exit_code == 0
    assert "licence: Apache-2.0" in run("model", "show", model.name).stdout
    assert "CC-BY-4.0" in run("model", "show", f"{model.name}@1").stdout


def test_a_contradiction_is_refused_with_each_difference(run: Maas, model: Path) -> None:
    """Status 1, one line, nothing registered."""
    replace(model / "config.pbtxt", "dims: [ 64 ]", "dims: [ 65 ]")
    refused = run("model", "register", model, *VISION)
    assert refused.exit_code == 1
    assert "image: shape [-1,64] by model.yaml, [-1,65] by config.pbtxt" in refused.stderr
    assert "[-1,65] by config.pbtxt, [-1,64] by the graph" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert run("model", "show", model.name).exit_code == 1


def test_a_file_with_faults_is_refused_with_all_of_them(run: Maas, model: Path) -> None:
    """Each with its line."""
    replace(model / "model.yaml", "risk: Low", "risk: low\ncolour: blue")
    refused = run("model", "register", model, *VISION)
    assert refused.exit_code == 1
    assert "risk: invalid enum value 'low'" in refused.stderr
    assert "colour: unknown field" in refused.stderr


def test_tampered_files_are_refused(run: Maas, model: Path) -> None:
    """A registered version has the files that it had; another model file may not rewrite its history either."""
    assert run("model", "register", model, *VISION).exit_code == 0
    replace(model / "model.yaml", "epochs: 120", "epochs: 121")
    refused = run("model", "register", model)
    assert refused.exit_code == 1
    assert "version 2: hyperparameters: differs from what is recorded" in refused.stderr
    replace(model / "model.yaml", "epochs: 121", "epochs: 120")
    (model / "2" / "more.txt").write_text("x")
    refused = run("model", "register", model)
    assert refused.exit_code == 1
    assert "version 2 of test-tampered-files-are-refused is registered with other files" in refused.stderr


def test_what_is_said_of_a_model_may_change(run: Maas, ask: Ask, model: Path) -> None:
    """Against what stood when it was read, and in the audit."""
    assert run("model", "register", model, *VISION).exit_code == 0
    replace(model / "model.yaml", "risk: Low", "risk: High")
    done = ask("model", "register", model, "--reason", "looked again")
    assert (done["changed"], done["description"]["risk"]) == (True, "High")
    assert [m["name"] for m in ask("model", "list", "--risk", "high", "--text", model.name)] == [model.name]
    assert ask("model", "list", "--risk", "low", "--text", model.name) == []


def test_a_breaking_change_is_told_with_its_callers(run: Maas, ask: Ask, model: Path) -> None:
    """A warning that names what to do; the version is registered, and carries the flag."""
    name = model.name
    for number in "23":
        shutil.rmtree(model / number)
    text = (model / "model.yaml").read_text()
    (model / "model.yaml").write_text(text.partition("versions:")[0])
    assert run("model", "register", model, *VISION).exit_code == 0
    replace(model / "config.pbtxt", 'name: "image"', 'name: "pixels"')
    replace(model / "model.yaml", "name: image", "name: pixels")
    shutil.copytree(model / "1", model / "2")
    rename_input(model / "2" / "model.onnx", "image", "pixels")
    done = run("model", "register", model)
    assert done.exit_code == 0, done.output
    assert f"{name}@2 breaks callers of version 1: input image: is gone or has another name" in done.stderr
    assert "nobody called" in done.stderr
    assert "version 1 keeps the signature that it was registered with" in done.stderr
    shown = ask("model", "show", name)
    assert [bool(v["breaking"]) for v in shown["versions"]] == [False, True]
    assert "breaks callers of version 1" in run("model", "show", f"{name}@2").stdout
    assert "1 2!" in run("model", "list", "--text", name).stdout


def test_an_ensemble_is_shown_with_what_it_is_made_of(run: Maas, ask: Ask) -> None:
    """Its steps are found in its configuration; from a step one sees what it is part of."""
    for name in ("digits", "digits-names", "digits-label"):
        assert run("model", "register", REPOSITORY / name, *VISION).exit_code == 0
    text = run("model", "lineage", "digits-label@1").stdout
    assert "digits@2 (ensemble)" in text
    assert "digits-names@1 (ensemble)" in text
    assert "part of: nothing that is known" in text
    text = run("model", "lineage", "digits").stdout
    assert "digits-label@1 (ensemble)" in text
    edges = ask("model", "lineage", "digits-label")["edges"]
    assert sorted(each["base"] for each in edges) == ["digits-names@1", "digits@2"]


def test_what_others_wrote_steers_no_terminal(run: Maas, model: Path) -> None:
    """Turned and marked up text is shown as text."""
    replace(model / "model.yaml", "risk: Low", 'risk: Low\n# \nintended_use: "a\\u202eb [red]c[/red]"')
    text = (model / "model.yaml").read_text().replace("intended_use: |\n  Demonstration", "# \n# ", 1)
    (model / "model.yaml").write_text(text.replace("  its accuracy promises", "  # its accuracy promises"))
    done = run("model", "register", model, *VISION)
    assert done.exit_code == 0, done.output
    shown = run("model", "show", model.name).stdout
    assert "\u202e" not in shown
    assert "a\\u202eb [red]c[/red]" in shown


def rename_input(path: Path, old: str, new: str) -> None:
    import onnx

    graph = onnx.load(path)
    for each in graph.graph.input:
        each.name = new if each.name == old else each.name
    for node in graph.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
    onnx.save(graph, path)
