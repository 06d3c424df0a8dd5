"""The manifests hang together, and Kubernetes would take them."""

import functools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.deploy.manifests import (
    KUBERNETES,
    OVERLAYS,
    ROOT,
    Manifest,
    container,
    kustomizations,
    of_kind,
    plain,
    read,
    strings,
    workloads,
)

VERSIONS = ["1.30", "1.34", kubernetes_validate.latest_version()]
"""The oldest that is promised, one between, and the newest whose schemas are here."""
GATEWAY_API = "gateway.networking.k8s.io/v1"


@pytest.fixture(autouse=True, scope="module")
def _schemas_read_once() -> Iterator[None]:
    """The library reads all of a release's schemas again for each object; once is enough."""
    with pytest.MonkeyPatch.context() as patch:
        read_once = functools.lru_cache(kubernetes_validate.utils.schema_contents)
        patch.setattr(kubernetes_validate.utils, "schema_contents", read_once)
        yield


def faults(manifest: Manifest, version: str) -> str | None:
    """What Kubernetes' own schema has against it, unknown fields too; nothing for kinds that are not its own."""
    if manifest["apiVersion"] == GATEWAY_API:
        return None
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{manifest['kind']} {manifest['metadata']['name']}: {list(error.path)}: {error.message}"
    return None


@pytest.mark.parametrize("version", VERSIONS)
def test_rendered_manifests_are_valid(manifests: tuple[Manifest, ...], version: str) -> None:
    """Every object is valid by the schemas of Kubernetes itself, from the oldest release that is promised on."""
    assert [fault for each in manifests if (fault := faults(each, version))] == []


def test_files_are_valid_as_they_stand() -> None:
    """Where nothing renders them, at least each manifest's file is valid by itself."""
    assert [fault for each in plain() if (fault := faults(each, VERSIONS[0]))] == []


def test_the_schemas_find_a_mistyped_field() -> None:
    """The check is none that lets everything pass: a wrong field and a wrong type are found."""
    (deployment, *_) = workloads(plain())
    broken = {**deployment, "spec": {**deployment["spec"], "replica": 2}}
    assert "replica" in str(faults(broken, VERSIONS[0]))
    broken = {**deployment, "spec": {**deployment["spec"], "replicas": "two"}}
    assert faults(broken, VERSIONS[0])


def test_every_file_is_listed() -> None:
    """Each file below deploy/kubernetes is used by a kustomization, and each one that is named is there."""
    used: set[Path] = set()
    for folder in kustomizations():
        found = read(folder / "kustomization.yaml")[0]
        names = [*found.get("resources", []), *found.get("components", [])]
        names += [patch["path"] for patch in found.get("patches", []) if "path" in patch]
        names += [name for each in found.get("configMapGenerator", []) for name in each["files"]]
        used |= {(folder / name).resolve() for name in names} | {folder / "kustomization.yaml"}
    assert {path for path in used if not path.exists()} == set()
    assert {path for path in KUBERNETES.rglob("*") if path.is_file()} - used == set()


def test_overlays_are_what_is_tested() -> None:
    """No overlay is left out of these tests."""
    found = {str(folder.relative_to(KUBERNETES)) for folder in kustomizations()}
    assert {name for name in found if not name.startswith("components/")} == set(OVERLAYS)


def test_no_two_objects_have_one_name(manifests: tuple[Manifest, ...]) -> None:
    """And all but the namespace live in it."""
    names = [(each["kind"], each["metadata"]["name"]) for each in manifests]
    assert len(set(names)) == len(names)
    homes = {each["metadata"].get("namespace") for each in manifests if each["kind"] != "Namespace"}
    assert homes == {"maas"}


def test_images_have_a_fixed_version(manifests: tuple[Manifest, ...]) -> None:
    """No image floats, and the gateway's is of this release."""
    release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for workload in workloads(manifests):
        image = container(workload)["image"]
        name, _, tag = image.rpartition(":")
        assert re.fullmatch(r"[0-9][A-Za-z0-9._-]*", tag), image
        if name.rpartition("/")[2] == "maas":
            assert tag == release, "another release: deploy/ names its images by hand"


def test_secrets_are_named_never_told(manifests: tuple[Manifest, ...]) -> None:
    """There is no Secret with a value, and what is secret reaches a pod only by reference."""
    assert of_kind(manifests, "Secret") == []
    for workload in workloads(manifests):
        for variable in container(workload).get("env", []):
            if re.search(r"SECRET|DATABASE__URL|REDIS_URL|PASSWORD|TOKEN", variable["name"]):
                assert set(variable) == {"name", "valueFrom"}, variable
    assert [text for text in strings(list(manifests)) if re.search(r"://[^/\s]*:[^/\s]+@", text)] == []


def test_the_first_rules_are_those_of_init(tmp_path: Path) -> None:
    """A cluster starts with the rights that `maas init` writes for one machine."""
    from gateway.cli.init import _write_policies

    _write_policies(tmp_path / "policies")
    written = {path.name: path.read_text() for path in (tmp_path / "policies").iterdir()}
    shipped = {path.name: path.read_text() for path in (KUBERNETES / "base" / "policies").iterdir()}
    assert shipped == written, (
        "copy what `maas init` writes into its policies folder to deploy/kubernetes/base/policies"
    )


def test_yaml_has_no_duplicate_keys() -> None:
    """A key that stands twice in a mapping would silently win over the first."""
    for path in KUBERNETES.parent.rglob("*.y*ml"):
        for document in yaml.compose_all(path.read_text(), Loader=yaml.SafeLoader):
            for mapping in _mappings(document):
                keys = [key.value for key, _ in mapping.value]
                assert len(keys) == len(set(keys)), f"{path.name} {mapping.start_mark}"


def _mappings(node: yaml.Node | None) -> Iterator[yaml.MappingNode]:
    if isinstance(node, yaml.MappingNode):
        yield node
        for _, value in node.value:
            yield from _mappings(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _mappings(value)
