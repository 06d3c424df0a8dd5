"""The guide on deploying tells what is there."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.manifests import (
    DEPLOY,
    KUBERNETES,
    ROOT,
    container,
    kustomize,
    render,
    strings,
    workloads,
)

GUIDE = (ROOT / "docs" / "deploying.md").read_text()
PLACEHOLDER = re.compile(r"example\.com|192\.0\.2\.|^(public|internal)$")


def block(language: str, containing: str) -> str:
    """The fenced block that holds a text."""
    (found,) = [
        each
        for each in re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
        if containing in each
    ]
    return str(found)


def test_an_overlay_of_ones_own_fills_every_gap(tmp_path: Path) -> None:
    """What the guide says to put on top of `production` renders, and leaves none of its placeholders."""
    assert any(PLACEHOLDER.search(text) for text in strings(list(render("overlays/production"))))
    tree = tmp_path / "kubernetes"
    shutil.copytree(KUBERNETES, tree)
    (tree / "overlays" / "mine").mkdir()
    (tree / "overlays" / "mine" / "kustomization.yaml").write_text(
        block("yaml", "resources: [../production]")
    )
    command = [*kustomize(), str(tree / "overlays" / "mine")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = list(yaml.safe_load_all(done.stdout))
    assert [text for text in strings(found) if PLACEHOLDER.search(text)] == []
    assert any(
        container(each)["image"].startswith("registry.your-company.net/maas:") for each in workloads(found)
    )


@pytest.mark.parametrize("overlay", ["overlays/small", "overlays/production"])
def test_every_secret_is_in_the_guide(overlay: str) -> None:
    """Each Secret that a pod or a Gateway asks for is in the table, with its keys."""
    for each in render(overlay):
        text = yaml.safe_dump(each)
        for name, key in re.findall(r"secretKeyRef:\n\s+key: (\S+)\n\s+name: (\S+)", text):
            assert re.search(rf"\| `{key}` \| `{name}` \|", GUIDE), (key, name)
    tls = {"maas-inference-tls", "maas-control-tls"}
    named = {text for text in strings(list(render(overlay))) if text.endswith("-tls")}
    assert named == (tls if overlay == "overlays/production" else set())
    assert all(f"`{name}`" in GUIDE for name in tls)


def test_labels_that_let_in_are_in_the_guide() -> None:
    """Each label that a policy looks for on another namespace is told."""
    labels = {
        f"{key}={value}"
        for each in render("overlays/production")
        if each["kind"] == "NetworkPolicy"
        for key, value in re.findall(r"(maas-[a-z]+): (allow)", yaml.safe_dump(each))
    }
    assert len(labels) == 3
    assert all(f"`{label}`" in GUIDE for label in labels)


def test_paths_in_the_guide_are_there() -> None:
    """Each file and folder of deploy/ that a command names exists."""
    named = set(re.findall(r"(?<![\w/.-])deploy/[A-Za-z0-9_./-]+[A-Za-z0-9]", GUIDE))
    # Made by the reader, or a kind and its name on a kubectl command line.
    named -= {"deploy/.env", "deploy/kubernetes/overlays/mine/kustomization.yaml"}
    named -= {name for name in named if name.startswith("deploy/maas-")}
    assert len(named) > 5
    assert {name for name in named if not (ROOT / name).exists()} == set()
    assert {path.name for path in (DEPLOY / "systemd").glob("*.service")} == {
        "maas.service",
        "maas-control.service",
        "maas-data@.service",
    }
