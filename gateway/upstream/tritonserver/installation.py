"""Which tritonserver can run here, and what it needs around it.

Three cases: a binary that the caller names, one on PATH (both bring their own backends, as in NVIDIA's container),
and the one inside the package nvidia-pytriton. The last has only a Python backend, so a folder of backends is put
together for it: that Python backend with the stub for this interpreter, and beside it our `onnxruntime`.
"""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import msgspec

from gateway.errors import GatewayError, Kind, Source

INSTALL_HINT = "install it in the gateway's checkout with: make install-dev"
# The wheel's platform tag, manylinux_2_35.
MINIMUM_GLIBC = (2, 35)
OUR_BACKENDS = Path(__file__).parent / "backends"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
STUB = "triton_python_backend_stub"


class TritonStartError(GatewayError):
    """Triton cannot run here, or did not come up; the detail says why and what to do."""

    def __init__(self, detail: str) -> None:
        super().__init__(Kind.UNAVAILABLE, detail, source=Source.UPSTREAM)


class Installation(msgspec.Struct, frozen=True):
    """A tritonserver binary; `package` is the folder of the packaged one, None for one with its own backends."""

    binary: Path
    package: Path | None

    def compose(self, workspace: Path) -> None:
        """Writes what the packaged server needs into the folder `workspace`: its backends and an interpreter's home."""
        if self.package is None:
            return
        # Copies: Triton refuses a backend that is a link to a file elsewhere.
        backends = workspace / "backends"
        shutil.copytree(self.package / "backends", backends)
        shutil.copy(self._stub(), backends / "python")
        shutil.copytree(
            OUR_BACKENDS, backends, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
        )
        # The stub embeds an interpreter that ignores PYTHONPATH and takes the first `python3` on PATH for itself.
        # A small virtual environment there leads it to the packages that this process sees, wherever they are.
        home = workspace / "python"
        site_packages = home / "lib" / f"python{PYTHON}" / "site-packages"
        site_packages.mkdir(parents=True)
        (home / "bin").mkdir()
        (home / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
        (home / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).resolve().parent}\n")
        # A compiled file in a version's folder would change the digest of the version.
        quiet = "import sys; sys.dont_write_bytecode = True\n"
        visible = (path for path in sys.path if Path(path).name in ("site-packages", "dist-packages"))
        (site_packages / "visible.pth").write_text(
            quiet + "".join(f"import site; site.addsitedir({p!r})\n" for p in visible)
        )

    def arguments(self, workspace: Path) -> list[str]:
        """Arguments that this installation needs, once `compose` has filled the workspace."""
        if self.package is None:
            return []
        backends = workspace / "backends"
        # A prefix of our own lets us remove what a killed server leaves in shared memory; every backend that is
        # written in Python takes its own copy of the setting.
        prefixes = [
            f"--backend-config={backend.name},shm-region-prefix-name={workspace.name}"
            for backend in backends.iterdir()
        ]
        return [f"--backend-directory={backends}", *prefixes]

    def environment(self, workspace: Path) -> dict[str, str]:
        """The environment to run it with: this process's own, and for the packaged one where things are."""
        # The packaged one's backend runs onnxruntime, which reports to its maker where this is not set.
        environment = {"ORT_DISABLE_TELEMETRY": "1", **os.environ}
        if self.package is not None:
            libraries = [
                str(self.package.parent.parent / "nvidia_pytriton.libs"),
                sysconfig.get_config_var("LIBDIR"),
            ]
            environment["LD_LIBRARY_PATH"] = joined(*libraries, environment.get("LD_LIBRARY_PATH"))
            environment["PATH"] = joined(str(workspace / "python" / "bin"), environment.get("PATH"))
        return environment

    def missing(self) -> str | None:
        """What the packaged server lacks on this machine, None when it can run."""
        if self.package is None:
            return None
        if not self._stub().is_file():
            known = sorted(path.name for path in (self.package / "python_backend_stubs").iterdir())
            return f"the packaged tritonserver has no Python backend for Python {PYTHON}, only for {', '.join(known)}"
        if importlib.util.find_spec("onnxruntime") is None:
            return "the packaged tritonserver needs onnxruntime; install it in the gateway's checkout with: make install"
        if not os.access("/dev/shm", os.W_OK):  # noqa: S108 - POSIX shared memory
            return "the packaged tritonserver needs a writable /dev/shm"
        for program in (self.binary, self._stub()):
            if problem := unresolved(program, self.environment(Path())):
                return problem
        return None

    def _stub(self) -> Path:
        return (self.package or Path()) / "python_backend_stubs" / PYTHON / STUB


def find(binary: Path | None = None) -> Installation:
    """The installation to use: the named binary, else one on PATH, else the packaged one.

    Raises TritonStartError with the reason where none can run.
    """
    if binary is not None:
        if not os.access(binary, os.X_OK) or not binary.is_file():
            raise TritonStartError(f"{binary} is not an executable file; name a tritonserver binary")
        return named(binary)
    if on_path := shutil.which("tritonserver"):
        return named(Path(on_path))
    if reason := unsupported_platform():
        raise TritonStartError(f"{reason}; install NVIDIA's tritonserver on PATH instead")
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise TritonStartError(
            f"there is no tritonserver on PATH nor the package that carries one; {INSTALL_HINT}"
        )
    package = Path(spec.origin).parent / "tritonserver"
    installation = Installation(package / "bin" / "tritonserver", package)
    if reason := installation.missing():
        raise TritonStartError(reason)
    return installation


def triton_available() -> str | None:
    """Why no Triton server can be started on this machine, or None when one can."""
    try:
        find()
    except TritonStartError as error:
        return error.detail
    return None


def named(binary: Path) -> Installation:
    """A given binary, with its own backends unless it is the packaged one."""
    package = binary.resolve().parent.parent
    return Installation(binary, package if (package / "python_backend_stubs").is_dir() else None)


def unsupported_platform() -> str | None:
    """Why the packaged binary cannot run on this platform, whatever is installed; None when it can."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        return f"the packaged tritonserver runs on Linux on x86-64 or arm64, not {sys.platform} {platform.machine()}"
    name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    if name != "glibc" or tuple(int(part) for part in version.split(".")[:2]) < MINIMUM_GLIBC:
        return f"the packaged tritonserver needs glibc 2.35 or newer, here is {name or 'another libc'} {version}".strip()
    return None


def unresolved(program: Path, environment: dict[str, str]) -> str | None:
    """Which shared libraries the dynamic loader does not find for a program; None when all are there."""
    traced = subprocess.run(
        [program],
        env={**environment, "LD_TRACE_LOADED_OBJECTS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    missing = sorted({line.split()[0] for line in traced.stdout.splitlines() if "=> not found" in line})
    if not missing:
        return f"{program} does not start: {traced.stderr.strip()}" if traced.returncode else None
    packages = {name: name.partition(".so")[0] for name in missing if name.startswith("libpython")}
    hint = f"; on Debian or Ubuntu: apt-get install {' '.join(packages.values())}" if packages else ""
    return f"the packaged tritonserver does not find {', '.join(missing)}{hint}"


def joined(*paths: str | None) -> str:
    """Search path of distinct, non-empty entries."""
    return ":".join(dict.fromkeys(path for path in paths if path))
