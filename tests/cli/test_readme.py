"""What the README and the guides tell people to type is true."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from gateway.cli.main import maas
from loadtests.processes import free_port

ROOT = Path(__file__).parents[2]
FREE_PORTS = ["--http-port", "0", "--grpc-port", "0", "--control-port", "0"]
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def lines_with_maas(path: Path) -> list[str]:
    """Every `maas …` in a fenced block or in backticks."""
    text = path.read_text()
    fenced = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    typed = re.findall(r"^\s*(?:\.venv/bin/)?(maas [a-z].*)", fenced, re.MULTILINE)
    return [*typed, *re.findall(r"`(?:\.venv/bin/)?(maas [a-z][^`]*)`", text)]


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_every_command_in_the_guides_exists(path: Path) -> None:
    """Each named verb is there, and each option that is shown with it is one of its options."""
    for line in lines_with_maas(path):
        words = shlex.split(re.split(r"\s{3,}|[>;)]", line)[0].replace("…", ""))[1:]
        command: click.Command = maas
        while isinstance(command, click.Group):
            child = command.get_command(click.Context(command), words.pop(0)) if words else None
            assert child is not None, line
            command = child
        options = {
            name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)
        }
        options |= {"--help", "--json"}
        for word in words:
            if word.startswith("--"):
                assert word in options, line


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_every_link_in_the_guides_leads_somewhere(path: Path) -> None:
    """Relative links name files that are there."""
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def blocks_of(path: Path, heading: str) -> list[str]:
    """The shell blocks below a heading."""
    text = path.read_text()
    section = re.split(r"^## ", text[text.index(f"## {heading}\n") + 3 :], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def pasted(blocks: list[str], real: dict[str, str], settings: dict[str, str] | None = None) -> str:
    """What the blocks print, run in one shell from this folder, with these addresses and folders instead of the written ones.

    Fails where one of their commands does. What they leave in the background ends with the shell.
    """
    script = "\n".join(["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT", *blocks])
    # A person takes a moment to type the next line; by then a change is live.
    script = re.sub(
        r"^( *maas (?:quota|alias|alias adapter) set .*|maas policy add .*|APP=.*)$",
        r"\1\nsleep 2",
        script,
        flags=re.MULTILINE,
    )
    path = f'"{Path(sys.executable).parent}:$PATH"'
    for written, here in (real | {'"$PWD/.venv/bin:$PATH"': path}).items():
        script = script.replace(written, here)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAAS_")}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env=environment | (settings or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def demo() -> Iterator[dict[str, str]]:
    """A running demo: what stands in the guides, and what it is here."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "gateway.cli.main",
                "demo",
                "--no-story",
                "--data-dir",
                folder,
                *FREE_PORTS,
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            limit = time.monotonic() + 60
            while not (Path(folder) / "digit.json").exists():
                assert process.poll() is None
                assert time.monotonic() < limit
                time.sleep(0.05)
            said = json.loads((Path(folder) / "demo.json").read_text())
            yield {
                "http://127.0.0.1:8090": said["control_url"],
                "http://127.0.0.1:8080": said["inference_url"],
                "127.0.0.1:8080": said["inference_url"].removeprefix("http://"),
                "127.0.0.1:8081": said["grpc_target"],
                "maas-data/demo": folder,
            }
        finally:
            process.terminate()
            process.communicate(timeout=60)


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="the guides use curl, which is not here")


@pytest.mark.slow
@needs_curl
def test_the_tour_works_as_it_is_pasted(demo: dict[str, str]) -> None:
    """Every block of the tour, run in one shell beside a demo, ends without an error and shows what it promises."""
    blocks = blocks_of(ROOT / "README.md", "A five-minute tour")
    assert len(blocks) >= 6
    shown = pasted(blocks, demo)
    for promised in (
        "Maas-Served-By: digits/1",
        "version 1 [[",
        "data: [DONE]",
        "digits: digits@1=90% digits@2=10%",
        "digits: digits@1=100%",
        'RateLimit-Policy: "digits/minute";q=100;w=60, "digits/day";q=10000;w=86400',
        "Quota digits is gone.",
        "app:storefront may infer digits in vision",
        "app:stranger may not infer digits in vision",
        "user:lead may flip digits.",
        "maas_requests_total{",
    ):
        assert promised in shown
    assert "broken" not in shown


@pytest.mark.slow
@needs_curl
def test_the_sample_models_come_into_the_demo_as_it_is_pasted(demo: dict[str, str]) -> None:
    """A sequence over both protocols, an ensemble, and away again."""
    shown = pasted(blocks_of(ROOT / "docs" / "models.md", "In the demo"), demo)
    assert re.findall(r'"name":"OUTPUT".*"data":\[(\d+)\]', shown) == ["5", "10", "15"]
    for promised in ("streamed [5, 10, 15]", '"data":["zero"]', "digits-label"):
        assert promised in shown


@pytest.mark.slow
@needs_curl
def test_the_sample_models_come_into_a_gateway_of_ones_own_as_it_is_pasted(tmp_path: Path) -> None:
    """From nothing to a chat."""
    inference, control, grpc = free_port(), free_port(), free_port()
    real = {
        "http://127.0.0.1:8090": f"http://127.0.0.1:{control}",
        "http://127.0.0.1:8080": f"http://127.0.0.1:{inference}",
        "my-gateway": str(tmp_path / "my-gateway"),
    }
    settings = {
        "MAAS_INFERENCE__PORT": str(inference),
        "MAAS_INFERENCE__GRPC_PORT": str(grpc),
        "MAAS_CONTROL__PORT": str(control),
    }
    shown = pasted(blocks_of(ROOT / "docs" / "models.md", "In a gateway of your own"), real, settings)
    assert "that nobody can build again is a model that nobody can mend." in shown
