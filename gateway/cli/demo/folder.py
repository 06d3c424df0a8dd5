"""The demo's folder: a settings file, demo.json with the addresses and keys, and a lock against a second demo."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

import gateway
from gateway.cli.demo.ports import Ports
from gateway.cli.output import Refused
from gateway.cli.settings_file import settings_text
from gateway.kept_file import PRIVATE, write_whole

_ASIDE = "demo.previous.json"
ROOT = Path(gateway.__file__).resolve().parent.parent


class DemoFile(msgspec.Struct, frozen=True):
    """What stands in demo.json."""

    inference_url: str
    grpc_target: str
    control_url: str
    keys: dict[str, str]


def sample(name: str) -> Path:
    """A folder of the source tree that the demo shows: `model_repository` or `policies`."""
    for place in (ROOT / name, Path.cwd() / name):
        if place.is_dir():
            return place
    raise Refused(
        f"the sample folder {name} is not here; run the demo from a clone of the source tree (make demo)"
    )


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Path]:
    """The folder, made where it is missing and held against a second demo. Raises `Refused`."""
    try:
        # Folders above it are made with the mode that `maas doctor` asks for, too.
        for each in (*reversed(folder.parents), folder):
            each.mkdir(exist_ok=True, mode=0o700)
        descriptor = os.open(folder / "demo.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Refused(f"{folder} cannot be used: {error.strerror}; choose another with --data-dir") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Refused(
            f"another demo runs on {folder}; end it, or choose another folder with --data-dir"
        ) from error
    try:
        yield folder.resolve()
    finally:
        os.close(descriptor)


def write_settings(folder: Path, ports: Ports, model_repository: Path | None) -> Path:
    """Write the gateway's settings file; `model_repository` is that of the embedded engine, if it is used."""
    chosen: dict[str, Any] = {
        "data_dir": folder,
        "inference.port": ports.http,
        "inference.grpc_port": ports.grpc,
        "control.port": ports.control,
        "policies.folder": sample("policies"),
        # Nobody balances load over a demo: there is nobody to give notice to.
        "inference.drain_notice_s": 0.05,
        "inference.drain_limit_s": 5.0,
    }
    if model_repository is not None:
        chosen["embedded.model_repository"] = model_repository
        # The sample models are of this source tree, as trusted as the rest of it.
        chosen["embedded.python_models"] = True
    path = folder / "maas.toml"
    write_whole(path, settings_text(chosen).encode(), PRIVATE)
    return path


def take_demo_file(folder: Path) -> DemoFile | None:
    """demo.json of an earlier run, if it can be read. It is set aside: until this run is ready there is none."""
    aside = folder / _ASIDE
    with contextlib.suppress(FileNotFoundError):
        (folder / "demo.json").replace(aside)
    try:
        return msgspec.json.decode(aside.read_bytes(), type=DemoFile)
    except (OSError, msgspec.DecodeError):
        return None


def write_demo_file(folder: Path, found: DemoFile) -> None:
    """Write demo.json, whole or not at all, readable by its owner only: it holds keys."""
    text = json.dumps(msgspec.to_builtins(found), indent=2) + "\n"
    write_whole(folder / "demo.json", text.encode(), PRIVATE)
    (folder / _ASIDE).unlink(missing_ok=True)
