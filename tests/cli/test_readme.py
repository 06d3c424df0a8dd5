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
from pathlib import Path

import click
import pytest

from gateway.cli.main import maas

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


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="the tour uses curl, which is not here")
def test_the_tour_works_as_it_is_pasted() -> None:
    """Every block of the tour, run in one shell beside a demo, ends without an error and shows what it promises."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 6
    with tempfile.TemporaryDirectory() as folder:
        demo = subprocess.Popen(
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
                assert demo.poll() is None
                assert time.monotonic() < limit
                time.sleep(0.05)
            said = json.loads((Path(folder) / "demo.json").read_text())
            script = "\n".join(["set -euo pipefail", *blocks])
            # A person takes a moment to type the next line; by then a quota is live.
            script = re.sub(r"^(maas quota set .*)$", r"\1\nsleep 2", script, flags=re.MULTILINE)
            for written, real in (
                ("http://127.0.0.1:8090", said["control_url"]),
                ("http://127.0.0.1:8080", said["inference_url"]),
                ("127.0.0.1:8080", said["inference_url"].removeprefix("http://")),
                ("maas-data/demo", folder),
                ('"$PWD/.venv/bin:$PATH"', f'"{Path(sys.executable).parent}:$PATH"'),
            ):
                script = script.replace(written, real)
            environment = {name: value for name, value in os.environ.items() if not name.startswith("MAAS_")}
            done = subprocess.run(
                ["bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
            )
        finally:
            demo.terminate()
            demo.communicate(timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
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
        assert promised in done.stdout
    assert "broken" not in done.stdout
