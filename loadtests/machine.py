"""The machine and the programs that a run was made with, so that its figures can be judged."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from loadtests.processes import SEARCH_PATH, Cores
from loadtests.results import Machine


def describe(cores: Cores) -> Machine:
    """What this machine is and what is installed on it."""
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        system=f"{_system()}, Linux {platform.release()}",
        python=platform.python_version(),
        versions=_versions(),
        load_average=round(os.getloadavg()[0], 2),
        core_plan=_plan(cores),
    )


def _plan(cores: Cores) -> str:
    if cores.proxy == cores.load:
        return "one core for everything: no figure here says much"
    if cores.load == cores.upstream:
        return f"proxy on core {cores.proxy}; load generator and upstream share core {cores.load}"
    return (
        f"proxy on core {cores.proxy}, load generator on core {cores.load}, upstream on core {cores.upstream}"
    )


def _cpu() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _system() -> str:
    release = Path("/etc/os-release")
    found = (
        re.search(r'^PRETTY_NAME="?([^"\n]+)', release.read_text(), re.MULTILINE)
        if release.exists()
        else None
    )
    return found[1] if found else "Linux"


def _versions() -> dict[str, str]:
    """Version numbers of the programs that are here."""
    beside = Path(sys.executable).with_name("envoy")
    commands = {
        "nginx": ["nginx", "-v"],
        "envoy": [str(beside) if beside.exists() else "envoy", "--version"],
        "wrk": ["wrk", "-v"],
        "nghttp2": ["h2load", "--version"],
    }
    found = {}
    for name, command in commands.items():
        try:
            done = subprocess.run(
                command,
                check=False,
                capture_output=True,
                text=True,
                timeout=10,
                env={**os.environ, "PATH": SEARCH_PATH},
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        version = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
        if version:
            found[name] = version[0]
    return found
