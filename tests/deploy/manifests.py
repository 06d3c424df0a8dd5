"""What is in deploy/kubernetes: the files as they stand, and what Kustomize makes of them."""

import functools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
KEPT = "+kept-snapshots"
OVERLAYS = ["base", "overlays/small", "overlays/production"]
RENDERED = [*OVERLAYS, *(overlay + KEPT for overlay in OVERLAYS)]
"""Each overlay alone, and with the component that nobody includes until they want it."""

Manifest = dict[str, Any]


def read(path: Path) -> list[Manifest]:
    """The documents of a YAML file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def kustomizations() -> list[Path]:
    """Every folder with a kustomization.yaml."""
    return sorted(path.parent for path in KUBERNETES.rglob("kustomization.yaml"))


def resources(folder: Path) -> list[Path]:
    """The manifest files that a kustomization lists itself."""
    listed = read(folder / "kustomization.yaml")[0].get("resources", [])
    return [folder / name for name in listed if name.endswith(".yaml")]


def plain() -> list[Manifest]:
    """Every manifest as it stands in its file, patches aside."""
    return [each for folder in kustomizations() for path in resources(folder) for each in read(path)]


@functools.cache
def kustomize() -> list[str]:
    """The command that renders. Skips the test where there is neither kubectl nor kustomize of version 5 or later."""
    if found := shutil.which("kustomize"):
        return [found, "build"]
    if found := shutil.which("kubectl"):
        told = subprocess.run(
            [found, "version", "--client", "--output", "json"], capture_output=True, text=True, check=False
        )
        version = json.loads(told.stdout or "{}").get("kustomizeVersion", "v0")
        if int(version.removeprefix("v").split(".")[0]) >= 5:
            return [found, "kustomize"]
    pytest.skip("neither kubectl nor kustomize, version 5 or later, is here to render the manifests")


@functools.cache
def render(overlay: str) -> tuple[Manifest, ...]:
    """What would be applied."""
    command = kustomize()
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "kubernetes"
        shutil.copytree(KUBERNETES, tree)
        wanted = tree / overlay.removesuffix(KEPT)
        if overlay.endswith(KEPT):
            on_top = {
                "resources": [f"../{overlay.removesuffix(KEPT)}"],
                "components": ["../components/kept-snapshots"],
            }
            wanted = tree / "on-top"
            wanted.mkdir()
            (wanted / "kustomization.yaml").write_text(yaml.safe_dump(on_top))
        done = subprocess.run([*command, str(wanted)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(manifests: tuple[Manifest, ...] | list[Manifest], *kinds: str) -> list[Manifest]:
    """Those of the kinds."""
    return [each for each in manifests if each["kind"] in kinds]


def named(manifests: tuple[Manifest, ...], kind: str, name: str) -> Manifest:
    """The one with this kind and name; a generated one's hash is left out."""
    found = [
        each
        for each in of_kind(manifests, kind)
        if each["metadata"]["name"] == name or each["metadata"]["name"].rpartition("-")[0] == name
    ]
    assert len(found) == 1, (kind, name, len(found))
    return found[0]


def workloads(manifests: tuple[Manifest, ...] | list[Manifest]) -> list[Manifest]:
    """What makes pods."""
    return of_kind(manifests, "Deployment", "StatefulSet")


def gateways(manifests: tuple[Manifest, ...] | list[Manifest]) -> dict[str, Manifest]:
    """The two planes' workloads, by their role."""
    found = {
        labels_of(each)["app.kubernetes.io/component"]: each
        for each in workloads(manifests)
        if labels_of(each)["app.kubernetes.io/name"] == "maas"
    }
    assert set(found) == {"data", "control"}
    return found


def pod(workload: Manifest) -> Manifest:
    """The pod's specification."""
    found: Manifest = workload["spec"]["template"]["spec"]
    return found


def container(workload: Manifest) -> Manifest:
    """Its one container."""
    (found,) = pod(workload)["containers"]
    assert isinstance(found, dict)
    return found


def ports(workload: Manifest) -> dict[str, int]:
    """The container's ports by name."""
    return {each["name"]: each["containerPort"] for each in container(workload)["ports"]}


def labels_of(workload: Manifest) -> dict[str, str]:
    """The labels of its pods."""
    found: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return found


def environment(workload: Manifest) -> dict[str, str]:
    """The container's environment; what comes from a Secret as a stand-in that decodes."""
    stand_ins = {
        "maas-installation": "a secret of a test, long enough to be taken",
        "maas-database": "postgresql://maas:password@database/maas",
        "maas-redis": "redis://redis:6379/0",
    }
    return {
        each["name"]: each["value"]
        if "value" in each
        else stand_ins[each["valueFrom"]["secretKeyRef"]["name"]]
        for each in container(workload)["env"]
    }


def settings_file(manifests: tuple[Manifest, ...]) -> str:
    """The text of maas.toml that the pods get."""
    text: str = named(manifests, "ConfigMap", "maas-settings")["data"]["maas.toml"]
    return text


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    """Whether a selector of labels takes a pod with these."""
    return selector.items() <= labels.items()


def strings(value: object) -> Iterator[str]:
    """Every string inside."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)
