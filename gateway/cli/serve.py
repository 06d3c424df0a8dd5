"""`maas serve`: runs a gateway, and the settings that it and `maas doctor` read."""

import os
import sys
from pathlib import Path

import click
import msgspec

from gateway.cli.output import Refused, note
from gateway.settings import MOST_WORKERS, Role, Settings, SettingsError, load_settings

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="MAAS_CONFIG",
    show_envvar=True,
    help="The settings file (default: maas.toml, where there is one).",
)


@click.command(
    epilog="""\b
Examples:
  maas serve
  maas serve --config /etc/maas/maas.toml --role data --workers 4
  MAAS_INFERENCE__PORT=9000 maas serve"""
)
@config_option
@click.option(
    "--role",
    type=click.Choice(["all", "data", "control"]),
    help="Which plane this process is (default: what the settings say, else all).",
)
@click.option(
    "--workers",
    type=click.IntRange(1, MOST_WORKERS),
    help="Processes that serve inference behind the one port (default: what the settings say, else 1).",
)
def serve(config: Path | None, role: Role | None, workers: int | None) -> None:
    """Run a gateway until SIGTERM or Ctrl-C; it then finishes what is under way.

    Settings come from the file and, over it, from the environment: MAAS_INFERENCE__PORT=9000 is `port` of
    [inference]. `maas init` writes a file that explains each one.

    With several workers, one that dies is started again, and SIGHUP replaces them one after the other under way, by
    the settings as they are then.
    """
    told = {name: value for name, value in (("role", role), ("workers", workers)) if value is not None}

    def again() -> Settings:
        return msgspec.structs.replace(load_settings(settings_path(config), os.environ), **told)

    settings = msgspec.structs.replace(read_settings(config), **told)
    from gateway.app import run

    sys.exit(run(settings, again))


def settings_path(config: Path | None) -> Path | None:
    """The file to read: the named one, else maas.toml of the current folder, else none."""
    default = Path("maas.toml")
    return config if config is not None else default if default.exists() else None


def read_settings(config: Path | None) -> Settings:
    """The settings of this process. Raises `Refused` after every fault was printed."""
    try:
        return load_settings(settings_path(config), os.environ)
    except SettingsError as error:
        if len(error.problems) == 1:
            raise Refused(error.problems[0]) from error
        for problem in error.problems:
            note(f"  {problem}")
        raise Refused(f"the settings have {len(error.problems)} faults, listed above") from error
