"""`maas infer`: one inference through NVIDIA's own client, as an application would send it."""

import ipaddress
import json
import os
from typing import IO, Any
from urllib.parse import urlsplit

import click

from gateway.cli import arguments
from gateway.cli.client import DEFAULT_URL, Control
from gateway.cli.inference import send
from gateway.cli.output import Refused, emit_json, json_option, note

DEFAULT_PORT = 8080
_ASK_WITHIN_S = 2.0


@click.command(
    epilog="""\b
Examples:
  maas infer digits --file image.json
  echo '{"inputs": [{"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [0, 8, 16, ...]}]}' | maas infer digits
  maas infer digits --file image.json --url http://127.0.0.1:8080 --routing-key user-7"""
)
@click.argument("name", type=arguments.name, metavar="ALIAS")
@click.option(
    "--file", type=click.File("rb"), default="-", help="The v2 JSON body (default: standard input)."
)
@click.option(
    "--url",
    help=f"The inference port (default: where a worker lives, else port {DEFAULT_PORT} of the host in MAAS_URL).",
)
@click.option("--version", type=click.IntRange(min=1), help="A pinned version, for those who may.")
@click.option("--routing-key", help="Keeps this text's owner on one arm (default: your key's principal).")
@click.option("--timeout", type=click.FloatRange(min=0.001), default=30, show_default=True, metavar="SECONDS")
@json_option
def infer(
    name: str,
    file: IO[bytes],
    url: str | None,
    version: int | None,
    routing_key: str | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Send one inference to ALIAS with tritonclient and print the reply as JSON.

    Which version answered goes to standard error, or with --json beside the reply.
    """
    key = os.environ.get("MAAS_KEY", "").strip()
    if not key:
        raise Refused("MAAS_KEY is not set; export MAAS_KEY=YOUR-KEY")
    request = _request(file.read(), getattr(file, "name", "the body"))
    address = url or inference_address(
        os.environ.get("MAAS_URL") or DEFAULT_URL, key, min(timeout, _ASK_WITHIN_S)
    )
    headers = {"Authorization": f"Bearer {key}"}
    if routing_key is not None:
        headers["Maas-Routing-Key"] = routing_key
    told: dict[str, str] = {}
    try:
        reply = send(address, name, request, headers, version, timeout, told)
    finally:
        _warn(told)
    served_by = f"{reply.get('model_name')}/{reply.get('model_version')}"
    if as_json:
        emit_json({"served_by": served_by, "reply": reply})
    else:
        emit_json(reply)
        note(f"served by {served_by}")


def _warn(told: dict[str, str]) -> None:
    """Say what the reply says of an end, in words and in its own fields."""
    if "deprecation" not in told:
        return
    note("warning: what you call is deprecated; the reply says:")
    for name in ("Deprecation", "Sunset", "Link"):
        if name.lower() in told:
            note(f"  {name}: {told[name.lower()]}")


def inference_address(control_url: str, key: str, timeout_s: float) -> str:
    """The inference port that the control plane names; where it does not, the default one of the same host.

    A loopback address that another host names is that host's own: the key must not go to whoever listens here.
    """
    with Control(control_url, key, timeout_s) as control:
        try:
            told = control.get("/api/v1/whoami").get("inference_url")
        except Refused:
            told = None
    if told is not None and (_is_loopback(control_url) or not _is_loopback(told)):
        return str(told)
    host = urlsplit(control_url).hostname or ""
    return f"http://[{host}]:{DEFAULT_PORT}" if ":" in host else f"http://{host}:{DEFAULT_PORT}"


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _request(text: bytes, source: str) -> dict[str, Any]:
    """The v2 request in `text`. Raises `Refused` where it is none."""
    try:
        request: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{source} is not JSON: {error}") from error
    tensors = request.get("inputs") if isinstance(request, dict) else None
    if not isinstance(tensors, list) or not tensors:
        raise Refused(
            f'{source} is no inference request; it needs "inputs": [{{"name", "shape", "datatype", "data"}}]'
        )
    for tensor in tensors:
        missing = {"name", "shape", "datatype", "data"} - set(tensor if isinstance(tensor, dict) else ())
        if missing:
            raise Refused(f"{source}: an input has no {', '.join(sorted(missing))}")
        shape = tensor["shape"]
        if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
            raise Refused(f"{source}: the shape of input {tensor['name']} is not a list of whole numbers")
    return dict(request)
