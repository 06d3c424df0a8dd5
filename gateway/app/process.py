"""What a gateway's process tells its surroundings, and how it is told to leave."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path

from gateway.kept_file import write_whole
from gateway.settings import Inference, Settings
from gateway.supervisor.messages import Leave


def tell_addresses(
    settings: Settings, inference_port: int | None, workers: Mapping[str, int] | None = None
) -> None:
    """Write where this process listens into the data folder, for whoever starts it with port 0.

    `workers` are the process ids of several workers, by their numbers.
    """
    found: dict[str, object] = {"pid": os.getpid(), "role": settings.role}
    if inference_port is not None:
        found["inference_url"] = f"http://{settings.inference.host}:{inference_port}"
        if settings.inference.grpc_port:
            found["grpc_target"] = f"{settings.inference.host}:{settings.inference.grpc_port}"
    if settings.role != "data":
        found["control_url"] = f"http://{settings.control.host}:{settings.control.port}"
    if workers is not None:
        found["workers"] = workers
    write_whole(_addresses(settings), (json.dumps(found) + "\n").encode())


def inference_ports(inference: Inference) -> dict[str, int]:
    """The ports on which inference is served, by their settings."""
    ports = {"inference.port": inference.port, "inference.grpc_port": inference.grpc_port}
    if not inference.grpc_port:
        del ports["inference.grpc_port"]
    return ports


def forget_addresses(settings: Settings) -> None:
    """Take back what `tell_addresses` wrote, unless another process has written since."""
    path = _addresses(settings)
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return
    if isinstance(told, dict) and told.get("pid") == os.getpid():
        path.unlink(missing_ok=True)


def _addresses(settings: Settings) -> Path:
    return settings.data_dir / f"gateway-{settings.role}.json"


def leave_by_signal(
    notice_s: float, *, handing_over: bool = False, delay_s: float = 0.0
) -> asyncio.Future[Leave]:
    """Done when SIGTERM or SIGINT has come and `delay_s` has passed, with how to leave. Times in seconds."""
    loop = asyncio.get_running_loop()
    leaving: asyncio.Future[Leave] = loop.create_future()

    def leave(how: Leave) -> None:
        if not leaving.done():
            leaving.set_result(how)

    # Ctrl-C comes from a person at a terminal: no load balancer has to notice first.
    for number, how in (
        (signal.SIGTERM, Leave(notice_s, handing_over)),
        (signal.SIGINT, Leave(0.0, handing_over)),
    ):
        loop.add_signal_handler(number, loop.call_later, delay_s, leave, how)
    return leaving


def wait_for_signal() -> None:
    """Wait for SIGTERM or SIGINT."""
    leave = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: leave.set())
    leave.wait()
