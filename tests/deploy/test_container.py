"""The image's recipe, as far as it can be held without building it."""

import importlib.util
import json
import re
import shlex
import threading
import types
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from wsgiref.simple_server import make_server

import pytest

from gateway.settings import load_settings
from loadtests.processes import free_port
from tests.deploy.manifests import DEPLOY, ROOT, container, plain, pod, workloads

CONTAINERFILE = DEPLOY / "Containerfile"


def instructions() -> list[tuple[str, str]]:
    """Each instruction and its arguments, continued lines joined."""
    lines = [line for line in CONTAINERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines() if line.strip()]


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage."""
    found: list[list[tuple[str, str]]] = []
    for name, arguments in instructions():
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, arguments))
    return found


def last(name: str) -> str:
    """The arguments of an instruction of the last stage, the last such one."""
    return [arguments for each, arguments in stages()[-1] if each == name][-1]


def copied() -> list[str]:
    """What is copied from the repository."""
    return [
        source
        for name, arguments in instructions()
        if name == "COPY" and "--from=" not in arguments
        for source in arguments.split()[:-1]
    ]


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path out of the build; the last line that fits decides."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").strip("/")
        if not line or line.startswith("#"):
            continue
        parents = [path, *(str(parent) for parent in Path(path).parents)]
        if any(fnmatch(each, pattern) for each in parents) or (
            line.startswith("!") and Path(pattern).is_relative_to(path)
        ):
            out = not line.startswith("!")
    return out


def test_sources_are_there_and_let_in() -> None:
    """Each COPY names something of the repository that the build is allowed to see."""
    assert copied()
    for source in copied():
        assert (ROOT / source).exists(), source
        assert not ignored(source), source


@pytest.mark.parametrize(
    "path", [".venv/bin/maas", ".git/config", "maas-data/demo/secret", "deploy/.env", "tests/x.py"]
)
def test_the_build_sees_nothing_else(path: str) -> None:
    """Secrets, history and whatever lies about stay out of the build."""
    assert ignored(path)


def test_packages_are_the_locked_ones() -> None:
    """Installed from the runtime's lock, hashes checked, wheels alone, from an index that no line names."""
    (install,) = [
        text for name, text in instructions() if name == "RUN" and "requirements/runtime.txt" in text
    ]
    assert "--require-hashes" in install
    assert "--only-binary=:all:" in install
    assert "://" not in CONTAINERFILE.read_text()
    assert not re.search(r"index-url|find-links|trusted-host", CONTAINERFILE.read_text())


def test_it_runs_as_nobody_special() -> None:
    """A numeric user that is not root, the same that Kubernetes is told; SIGTERM drains, as the process is the first one."""
    assert last("USER") == "10001:10001"
    gateways = [each for each in workloads(plain()) if container(each)["image"].startswith("maas:")]
    for workload in gateways:
        context = pod(workload)["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"]) == (10001, 10001)
    assert json.loads(last("CMD")) == ["maas", "serve"]
    assert last("STOPSIGNAL") == "SIGTERM"
    assert [name for name, _ in stages()[-1] if name == "ENTRYPOINT"] == []


def test_build_tools_stay_behind() -> None:
    """The image that serves has no pip and no build back end: it takes the finished environment alone."""
    build, final = stages()
    assert any(
        name == "RUN" and "pip uninstall --yes hatchling editables pip" in text for name, text in build
    )
    assert not any("pip" in text for name, text in final if name == "RUN")


def test_the_images_own_settings_decode() -> None:
    """Without anything mounted or set, the file in the image is settings; it listens where a container can be reached."""
    told = dict(each.split("=", 1) for each in shlex.split(last("ENV")) if each.startswith("MAAS_"))
    settings = load_settings(DEPLOY / "container" / "maas.toml", told)
    assert told["MAAS_CONFIG"] == "/etc/maas/maas.toml"
    assert (settings.inference.host, settings.control.host) == ("0.0.0.0", "0.0.0.0")
    assert str(settings.data_dir) == last("VOLUME")
    assert any(source.endswith("policies") for source in copied())
    assert str(settings.policies.folder) == "/etc/maas-policies"
    exposed = set(map(int, last("EXPOSE").split()))
    inference = settings.inference
    assert exposed == {inference.port, inference.grpc_port, inference.ops_port, settings.control.port}


def health() -> types.ModuleType:
    """The health check's module."""
    spec = importlib.util.spec_from_file_location("health", DEPLOY / "container" / "health.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"MAAS_ROLE": "data", "MAAS_INFERENCE__HOST": "0.0.0.0"}, ("127.0.0.1", 8082)),
        ({"MAAS_ROLE": "control", "MAAS_CONTROL__HOST": "::"}, ("::1", 8090)),
        ({"MAAS_CONTROL__HOST": "10.0.0.7", "MAAS_CONTROL__PORT": "9"}, ("10.0.0.7", 9)),
    ],
)
def test_the_health_check_asks_where_health_is_told(
    environ: dict[str, str], expected: tuple[str, int]
) -> None:
    """The ops port of role data, else the control port, at an address of this container."""
    assert health().address(load_settings(None, environ)) == expected
    assert json.loads(last("HEALTHCHECK").partition("CMD ")[2])[-1] == "/opt/maas/health.py"


def test_the_health_check_believes_a_200_alone() -> None:
    """What says that it lives is believed; another status, or nobody there, is no life."""
    lives = health().lives
    statuses = ["200 OK", "503 Service Unavailable"]

    def answer(environ: dict[str, Any], start: Callable[[str, list[tuple[str, str]]], object]) -> list[bytes]:
        assert environ["PATH_INFO"] == "/health/live"
        start(statuses.pop(0), [])
        return []

    with make_server("127.0.0.1", 0, answer) as server:
        for expected in (True, False):
            threading.Thread(target=server.handle_request, daemon=True).start()
            assert lives("127.0.0.1", server.server_port) == expected
    assert not lives("127.0.0.1", free_port())
