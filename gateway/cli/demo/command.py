"""`maas demo`: starts the gateway, seeds it, tells the story, stays."""

import contextlib
import json
import shlex
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click
import httpx

from gateway.cli.client import Control
from gateway.cli.demo import folder as folders
from gateway.cli.demo.folder import DemoFile
from gateway.cli.demo.ports import Ports, choose_ports
from gateway.cli.demo.process import GatewayProcess
from gateway.cli.demo.seed import BESIDE, MODEL, PRINCIPALS, key_works, make_keys, seed, wait_until_live
from gateway.cli.output import Refused, note
from gateway.errors import GatewayError
from gateway.kept_file import PRIVATE, write_whole

if TYPE_CHECKING:
    from gateway.cli.demo.stage import Stage

_ASKED_TO_END = threading.Event()
_ENGINES = ("embedded", "triton")


@click.command(
    epilog="""\b
Examples:
  maas demo
  maas demo --engine triton --exit
  maas demo --http-port 0 --grpc-port 0 --control-port 0 --data-dir /tmp/demo"""
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("maas-data/demo"),
    show_default=True,
    help="Where everything of the demo lives, demo.json with its addresses and keys too; used again by the next run.",
)
@click.option("--http-port", type=click.IntRange(0, 65535), default=8080, show_default=True)
@click.option("--grpc-port", type=click.IntRange(0, 65535), default=8081, show_default=True)
@click.option("--control-port", type=click.IntRange(0, 65535), default=8090, show_default=True)
@click.option(
    "--engine",
    default="embedded",
    show_default=True,
    metavar="embedded|triton|URL",
    help="In process, a Triton started for the demo, or one that runs already at http://HOST:PORT.",
)
@click.option("--no-story", is_flag=True, help="Only start everything.")
@click.option("--exit", "leave", is_flag=True, help="End when the story is over.")
def demo(
    data_dir: Path,
    http_port: int,
    grpc_port: int,
    control_port: int,
    engine: str,
    no_story: bool,
    leave: bool,
) -> None:
    """Start the whole gateway on loopback with sample models and walk through a short story with real requests.

    It stays up until Ctrl-C. DIR/demo.json has the addresses and a key for each of its people and applications.
    Port 0 means a free one.
    """
    if engine not in _ENGINES and urlsplit(engine).scheme != "http":
        raise click.UsageError(f"--engine is {engine!r}; write embedded, triton, or http://HOST:PORT")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        folder = stack.enter_context(folders.opened(data_dir))
        ports = choose_ports(http_port, grpc_port, control_port)
        models = folders.sample("model_repository")
        note(
            f"Starting the gateway, with {'the embedded engine' if engine == 'embedded' else 'a Triton'} behind it …"
        )
        endpoints, grpc = _endpoints(engine, models, folder, stack)
        settings = folders.write_settings(folder, ports, None if endpoints else models)
        known = folders.take_demo_file(folder)
        first_key = _first_key(settings)
        gateway = stack.enter_context(GatewayProcess(settings, folder / "gateway.log"))
        gateway.wait_until_ready(ports)
        beside = [name for name in BESIDE if _has(endpoints, models, name)]
        pool: dict[str, object] = {
            "engine": "triton" if endpoints else "embedded",
            "endpoints": endpoints,
            "grpc_endpoints": grpc,
        }
        found = _seeded(ports, models, pool, beside, known, first_key)
        folders.write_demo_file(folder, found)
        try:
            _perform(found, folder, no_story, leave, gateway)
        except httpx.HTTPError as error:
            gateway.check()
            raise Refused(f"the demo went wrong: {error!r}") from error


def _perform(found: DemoFile, folder: Path, no_story: bool, leave: bool, gateway: GatewayProcess) -> None:
    from gateway.cli.demo.stage import Stage

    stage = Stage()
    stage.plain(f"maas is up: inference on {found.inference_url}, control on {found.control_url}.")
    if not no_story:
        from gateway.cli.demo.story import tell

        tell(stage, found)
    if leave or _ASKED_TO_END.is_set():
        return
    _try_it(stage, found, folder)
    while not _ASKED_TO_END.wait(0.5):
        gateway.check()


def _try_it(stage: "Stage", found: DemoFile, folder: Path) -> None:
    """What a person can type next; all of it works as it stands."""
    from gateway.cli.demo.cast import digit

    body = folder / "digit.json"
    image = {"inputs": [{"name": "image", "shape": [1, 64], "datatype": "FP32", "data": digit(5).pixels}]}
    write_whole(body, json.dumps(image).encode(), PRIVATE)
    file = shlex.quote(str(body))
    stage.plain()
    stage.plain("Your turn:")
    stage.plain()
    stage.plain(f"  curl -i {found.inference_url}/v2/models/digits/infer \\")
    stage.plain(f"    -H 'Authorization: Bearer {found.keys['app']}' -d @{file}")
    stage.plain()
    stage.plain(f"  export MAAS_URL={found.control_url} MAAS_KEY={found.keys['lead']}")
    stage.plain("  maas alias set digits digits@1=80% digits@2=20% --reason 'my own canary'")
    stage.plain(f"  maas infer digits --url {found.inference_url} --file {file}")
    stage.plain()
    stage.plain(f"  Inference      {found.inference_url}/v2")
    stage.plain(f"  gRPC           {found.grpc_target}")
    stage.plain(f"  Control plane  {found.control_url}/api/v1, its description {found.control_url}/schema")
    stage.plain(f"  Metrics        {found.control_url}/metrics")
    stage.plain(f"  All keys       {folder / 'demo.json'}")
    stage.plain()
    stage.plain("Ctrl-C ends it.")


def _endpoints(
    engine: str, models: Path, folder: Path, stack: contextlib.ExitStack
) -> tuple[list[str], list[str]]:
    """The Triton servers of the demo's pool, none for the embedded engine; and where they speak gRPC, if that is known."""
    if engine == "embedded":
        return [], []
    if engine == "triton":
        from gateway.upstream.tritonserver import TritonServer

        try:
            server = stack.enter_context(TritonServer.start(models, log_path=folder / "triton.log"))
        except GatewayError as error:
            raise Refused(error.detail) from error
        return [server.http_url], [f"grpc://{server.grpc_target}"]
    url = engine.rstrip("/")
    try:
        ready = httpx.get(f"{url}/v2/models/{MODEL}/versions/1/ready", timeout=5.0)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Refused(f"no Triton answers at {url}: {error}") from error
    if not ready.is_success:
        raise Refused(
            f"the Triton at {url} does not serve {MODEL}; start it with --model-repository={models}"
        )
    return [url], []


def _first_key(settings_path: Path) -> str | None:
    """The admin key of a fresh folder; None for one that was used before."""
    from gateway.controlplane.access.service import create_first_admin
    from gateway.secret import load_secret
    from gateway.settings import SettingsError, load_settings

    settings = load_settings(settings_path, {})
    try:
        return create_first_admin(settings.database_url, load_secret(settings))
    except GatewayError as error:
        raise Refused(f"the demo's database cannot be made: {error.detail}") from error
    except SettingsError as error:
        raise Refused(str(error)) from error


def _has(endpoints: list[str], models: Path, model: str) -> bool:
    """Whether the engine serves the model. The embedded one, and a Triton of the demo's own, serve all that is built."""
    if not (models / model).is_dir():
        return False
    return all(
        httpx.get(f"{url}/v2/models/{model}/versions/1/ready", timeout=5.0).is_success for url in endpoints
    )


def _seeded(
    ports: Ports,
    models: Path,
    pool: dict[str, object],
    beside: Sequence[str],
    known: DemoFile | None,
    first_key: str | None,
) -> DemoFile:
    """Seed the gateway through its API; what demo.json will say."""
    keys = dict(known.keys) if known else {}
    if first_key is not None:
        keys["admin"] = first_key
    admin = keys.get("admin", "")
    if not key_works(ports.control_url, admin, PRINCIPALS["admin"]):
        raise Refused(
            "the folder has a database whose admin key is not in its demo.json; choose another --data-dir"
        )
    with Control(ports.control_url, admin) as control:
        seed(control, models, pool, beside)
        keys = make_keys(control, keys)
    wait_until_live(ports, keys["app"], beside)
    return DemoFile(ports.inference_url, ports.grpc_target, ports.control_url, keys)


def _end(signum: int, frame: FrameType | None) -> None:
    # Ends as Ctrl-C does: the gateway and Triton go in order. An exception that is raised within an import or a
    # destructor can be swallowed there; what was asked for stands in the event all the same.
    _ASKED_TO_END.set()
    raise KeyboardInterrupt
