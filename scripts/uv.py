"""Runs `.venv/bin/uv` with the index settings that pip has on this machine.

Many machines reach their packages through a mirror that is configured for pip alone (pip.conf or PIP_*).
Those settings are handed to uv here, in its environment only: none is ever written to a file.
A setting of uv's own (UV_*) always wins.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

VENV_BIN = Path(__file__).resolve().parent.parent / ".venv" / "bin"


def pip_settings() -> dict[str, str]:
    """What `pip config list` says, each option once, with pip's own precedence; empty where there is no pip."""
    for python in (VENV_BIN / "python", Path(getattr(sys, "_base_executable", sys.executable))):
        listed = subprocess.run(
            [python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
        )
        if listed.returncode == 0:
            break
    else:
        return {}
    found: dict[str, str] = {}
    for section in ("global", "install", ":env:"):  # later ones win
        for line in listed.stdout.splitlines():
            name, _, value = line.partition("=")
            if name.startswith(f"{section}."):
                found[name.removeprefix(f"{section}.")] = str(ast.literal_eval(value))
    return found


def places(text: str) -> list[str]:
    """The addresses of a multi-valued pip option, without local folders that do not exist: pip warns, uv would stop."""
    kept = []
    for place in text.split():
        path = unquote(urlsplit(place).path) if place.startswith("file:") else place
        if "://" in place.removeprefix("file://") or not os.path.isabs(path) or os.path.exists(path):
            kept.append(place)
    return kept


def environment(pip: dict[str, str], env: dict[str, str], locking: bool) -> dict[str, str]:
    """The environment for uv: `env`, and pip's settings for whatever it leaves open.

    Locking asks the main index alone: an extra one often holds one file of a release, and only that one would be locked.
    """
    wanted: dict[str, str] = {}
    if not any(
        name in env for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")
    ):
        if "index-url" in pip:
            wanted["UV_DEFAULT_INDEX"] = pip["index-url"]
        if "extra-index-url" in pip and not locking:
            wanted["UV_INDEX"] = " ".join(places(pip["extra-index-url"]))
            # To pip all indexes are equal. Versions and hashes are locked, so no index can slip in another file.
            wanted["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if "find-links" in pip and not locking:
        wanted["UV_FIND_LINKS"] = ",".join(places(pip["find-links"]))
    if "cert" in pip:
        wanted["SSL_CERT_DIR" if os.path.isdir(pip["cert"]) else "SSL_CERT_FILE"] = pip["cert"]
    if "trusted-host" in pip:
        wanted["UV_INSECURE_HOST"] = " ".join(pip["trusted-host"].split())
    if "proxy" in pip:
        wanted["ALL_PROXY"] = pip["proxy"]
    if pip.get("default-timeout", pip.get("timeout", "")).isdigit():
        wanted["UV_HTTP_TIMEOUT"] = pip.get("default-timeout", pip.get("timeout", ""))
    return {name: value for name, value in wanted.items() if value} | env


def main() -> None:
    """Becomes uv, with this program's own arguments."""
    pip = pip_settings()
    arguments = sys.argv[1:]
    if pip.get("no-index", "").lower() in {
        "1",
        "true",
        "yes",
        "on",
    }:  # the one that uv reads from no variable
        arguments.append("--no-index")
    uv = str(VENV_BIN / "uv")
    os.execve(uv, [uv, *arguments], environment(pip, dict(os.environ), locking="compile" in arguments))


if __name__ == "__main__":
    main()
