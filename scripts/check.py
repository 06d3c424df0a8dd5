"""All checks but the tests, side by side: `make check`. Exits with 1 when one of them fails.

`make check ARGS="lint types"` runs those alone.
"""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
LIMIT_S = 300
DATABASE_LIMIT_S = (
    25  # for each vulnerability database; looking up a hundred packages takes about ten seconds
)
VULNERABILITIES = "vulnerabilities"

# The slowest first, so that the others fill the time beside it.
COMMANDS: dict[str, list[str]] = {
    "types": ["mypy"],
    "imports": ["lint-imports", "--no-logo"],
    "dependencies": ["deptry", "."],
    "dead-code": ["python", "scripts/dead_code.py"],
    "licences": ["pip-licenses", "--format=plain"],
    "lint": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
}
AUDIT = [
    "pip-audit",
    "--requirement",
    "requirements/runtime.txt",
    "--disable-pip",
    "--require-hashes",
    "--no-deps",
    "--timeout",
    "5",
    "--progress-spinner",
    "off",
    "--format",
    "json",
]
HINTS = {
    "format": "`make fmt` does it",
    "imports": "the rules are in pyproject.toml; upper layers import lower ones",
    "dead-code": "remove it, or say in pyproject.toml who calls it by name",
    "dependencies": "pyproject.toml, then `make lock`",
    "licences": "the allowed ones are in pyproject.toml",
    VULNERABILITIES: '`make lock ARGS="--upgrade-package NAME"`',
}


class Result(NamedTuple):
    """What one check found; `passed` is None where it could not be made."""

    name: str
    passed: bool | None
    output: str
    seconds: float


def run(command: list[str], limit_s: float) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a tool in .venv; 124 when it ran past its limit."""
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}", "NO_COLOR": "1"}
    try:
        done = subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 124, "", f"took longer than {limit_s:.0f} s"
    return done.returncode, done.stdout, done.stderr


def vulnerabilities() -> tuple[bool | None, str]:
    """Whether the runtime requirements are free of known vulnerabilities, by the first database that answers."""
    for service in ("pypi", "osv"):
        _, out, _ = run(
            [*AUDIT, "--vulnerability-service", service],
            DATABASE_LIMIT_S,
        )
        try:
            packages = json.loads(out)["dependencies"]
        except (ValueError, KeyError):
            continue  # no answer is a traceback, not JSON
        answered = [package for package in packages if "vulns" in package]
        if not answered:
            continue  # a mirror that serves packages only says "not found" to every question
        found = [
            f"{package['name']} {package['version']}: {vulnerability['id']}, "
            f"fixed in {', '.join(vulnerability['fix_versions']) or 'no version yet'}"
            for package in answered
            for vulnerability in package["vulns"]
        ]
        silent = len(packages) - len(answered)
        note = [f"{silent} of {len(packages)} packages are not in the database"] if silent else []
        return not found, "\n".join(found + note)
    return None, "no vulnerability database can be reached from here: nothing was looked up"


def check(name: str) -> Result:
    """Runs one check by its name."""
    start = time.monotonic()
    if name == VULNERABILITIES:
        passed, output = vulnerabilities()
    else:
        status, out, err = run(COMMANDS[name], LIMIT_S)
        passed, output = status == 0, (out + err if status else "")
    return Result(name, passed, output.strip(), time.monotonic() - start)


def main(chosen: list[str]) -> int:
    """Runs the chosen checks, or all, and prints each as it ends."""
    names = [VULNERABILITIES, *COMMANDS]
    if unknown := set(chosen) - set(names):
        print(f"no such check: {', '.join(sorted(unknown))}; there are: {', '.join(names)}", file=sys.stderr)
        return 2
    failed = []
    # One thread more than there are processors: the one that asks a database mostly waits.
    with ThreadPoolExecutor((os.cpu_count() or 1) + 1) as pool:
        for future in as_completed([pool.submit(check, name) for name in names if name in (chosen or names)]):
            result = future.result()
            word = {True: "ok", False: "FAILED", None: "not checked"}[result.passed]
            print(f"{word:<12} {result.name:<16} {result.seconds:5.1f} s", flush=True)
            if result.output:
                print("    " + result.output.replace("\n", "\n    "), flush=True)
            if result.passed is False:
                failed.append(result.name)
                if hint := HINTS.get(result.name):
                    print(f"  -> {hint}", flush=True)
    print(f"check: {', '.join(failed)} FAILED" if failed else "check: all passed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
