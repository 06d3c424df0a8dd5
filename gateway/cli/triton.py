"""`maas triton`: a real Triton server in the foreground."""

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from gateway.cli.output import Refused, emit_json, json_option, say
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from gateway.upstream.tritonserver import TritonServer


@click.command(
    epilog="""\b
Examples:
  maas triton
  maas triton --model-repository /srv/models --http-port 0      a free port, printed"""
)
@click.option(
    "--model-repository",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("model_repository"),
    show_default=True,
    help="A folder in Triton's layout; every model in it is loaded.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--http-port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option("--grpc-port", type=click.IntRange(0, 65535), default=8001, show_default=True)
@click.option("--metrics-port", type=click.IntRange(0, 65535), default=8002, show_default=True)
@click.option("--log", type=click.Path(path_type=Path, dir_okay=False), help="Where Triton's own log goes.")
@click.option("--binary", type=click.Path(path_type=Path, dir_okay=False), help="A tritonserver of your own.")
@click.option(
    "--ready-timeout", type=click.FloatRange(min=1), default=60, show_default=True, metavar="SECONDS"
)
@json_option
def triton(
    model_repository: Path,
    host: str,
    http_port: int,
    grpc_port: int,
    metrics_port: int,
    log: Path | None,
    binary: Path | None,
    ready_timeout: float,
    as_json: bool,
) -> None:
    """Run a Triton server until Ctrl-C: tritonserver on PATH, else the one of the extra `triton` (make install-dev).

    Its addresses are printed as soon as it is ready. Port 0 means a free one.
    """
    from gateway.upstream.tritonserver import TritonServer

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    try:
        server = TritonServer.start(
            model_repository,
            http_port=http_port,
            grpc_port=grpc_port,
            metrics_port=metrics_port,
            host=host,
            log_path=log,
            binary=binary,
            ready_timeout_s=ready_timeout,
        )
    except GatewayError as error:
        raise Refused(error.detail) from error
    with server:
        _tell(server, as_json)
        try:
            status = server.process.wait()
        except KeyboardInterrupt:
            return
        raise Refused(f"tritonserver ended by itself with status {status}: {_last_line(server)}")


def _tell(server: "TritonServer", as_json: bool) -> None:
    if as_json:
        emit_json(
            {
                "http_url": server.http_url,
                "grpc_target": server.grpc_target,
                "metrics_url": server.metrics_url,
                "log": str(server.log_path),
                "pid": server.process.pid,
            }
        )
    else:
        say("Triton is ready; Ctrl-C ends it.")
        say(f"  HTTP     {server.http_url}")
        say(f"  gRPC     {server.grpc_target}")
        say(f"  metrics  {server.metrics_url}")
        say(f"  log      {server.log_path}")
        say(f"To put the gateway in front of it: maas pool set POOL {server.http_url}")
    sys.stdout.flush()


def _last_line(server: "TritonServer") -> str:
    lines = server.log().splitlines()
    return lines[-1] if lines else "it logged nothing"


def _end(signum: int, frame: FrameType | None) -> None:
    # Ends as Ctrl-C does, so that the server goes in both cases.
    raise KeyboardInterrupt
