"""`maas pool`: which Triton servers serve the models."""

from itertools import zip_longest
from typing import Any

import click

from gateway.cli import arguments
from gateway.cli.client import Control
from gateway.cli.output import confirm, emit_json, json_option, note, say, table


@click.group()
def pool() -> None:
    """Pools: named sets of Triton servers, or the embedded engine."""


@pool.command("list")
@json_option
def list_pools(as_json: bool) -> None:
    """List the pools and their endpoints."""
    with Control.from_environment() as control:
        found = control.get("/api/v1/pools")["pools"]
    if as_json:
        emit_json(found)
    else:
        table(
            ("pool", "engine", "endpoints"),
            [(p["name"], p["engine"], " ".join(p["endpoints"])) for p in found],
            empty="There is no pool that you may see.",
        )


@pool.command()
@click.argument("name", type=arguments.name, metavar="POOL")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show one pool: its engine and its endpoints."""
    with Control.from_environment() as control:
        found = control.get(f"/api/v1/pools/{name}")
    if as_json:
        emit_json(found)
    else:
        say(f"{found['name']}: {found['engine']}")
        for endpoint, grpc in zip_longest(found["endpoints"], found["grpc_endpoints"], fillvalue=""):
            say(f"  {endpoint}  {grpc}".rstrip())


@pool.command(
    "set",
    epilog="""\b
Examples:
  maas pool set gpu http://10.0.0.5:8000 http://10.0.0.6:8000
  maas pool set gpu http://10.0.0.5:8000 --grpc grpc://10.0.0.5:9000
  maas pool set local --engine embedded""",
)
@click.argument("name", type=arguments.name, metavar="POOL")
@click.argument("endpoints", nargs=-1, metavar="[http://HOST:PORT...]")
@click.option(
    "--grpc",
    multiple=True,
    metavar="grpc://HOST:PORT",
    help="Where an endpoint speaks gRPC; once for each, in their order. Without any: on the port behind its own.",
)
@click.option("--engine", type=click.Choice(["triton", "embedded"]), default="triton", show_default=True)
@click.option("--yes", is_flag=True, help="Change a pool that there is without asking.")
@json_option
def set_pool(
    name: str, endpoints: tuple[str, ...], grpc: tuple[str, ...], engine: str, yes: bool, as_json: bool
) -> None:
    """Make a pool, or give it other endpoints, which are shown first."""
    if (engine == "triton") != bool(endpoints):
        raise click.UsageError(
            "a pool of Triton servers needs endpoints"
            if engine == "triton"
            else "the embedded engine has no endpoints"
        )
    path = f"/api/v1/pools/{name}"
    with Control.from_environment() as control:
        standing, etag = control.standing(path)
        wanted = {"engine": engine, "endpoints": list(endpoints), "grpc_endpoints": list(grpc)}
        if standing is not None and _words(standing) != _words(wanted):
            note(f"pool {name} is now   {_words(standing)}")
            note(f"{'':<{5 + len(name)}} will be  {_words(wanted)}")
            confirm("Change this pool? Calls go to its new servers at once.", yes)
        done = control.put(path, wanted, etag)
    if as_json:
        emit_json(done)
    else:
        say(f"Pool {done['name']}: {_words(done)}")


def _words(found: dict[str, Any]) -> str:
    """Its engine and endpoints."""
    return " ".join([found["engine"], *found["endpoints"], *found["grpc_endpoints"]])
