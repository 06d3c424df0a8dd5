"""The `maas` command. Each verb is imported when it is called, so that help comes at once."""

import importlib
from typing import NamedTuple

import click


class _Verb(NamedTuple):
    module: str
    attribute: str
    summary: str


_VERBS = {
    "demo": _Verb(
        "gateway.cli.demo.command", "demo", "Start everything on this machine and walk through a story."
    ),
    "init": _Verb(
        "gateway.cli.init", "init", "Write maas.toml, make the database, print the first admin key."
    ),
    "serve": _Verb("gateway.cli.serve", "serve", "Run a gateway from maas.toml and MAAS_… variables."),
    "doctor": _Verb("gateway.cli.doctor.command", "doctor", "Check an installation and say what to do."),
    "triton": _Verb("gateway.cli.triton", "triton", "Run a real Triton server on a model repository."),
    "infer": _Verb("gateway.cli.infer", "infer", "Send one inference to an alias."),
    "alias": _Verb("gateway.cli.alias", "alias", "List, show, set, roll back aliases."),
    "deprecate": _Verb("gateway.cli.deprecate", "deprecate", "Announce the end of an alias or a version."),
    "callers": _Verb("gateway.cli.callers", "callers", "List who still calls what retires."),
    "model": _Verb("gateway.cli.model", "model", "Register, list, show models; remove versions."),
    "pool": _Verb("gateway.cli.pool", "pool", "Set, list, show pools of Triton servers."),
    "quota": _Verb("gateway.cli.quota", "quota", "Set, show, delete quotas: how much callers may have."),
    "usage": _Verb("gateway.cli.usage", "usage", "Show who used what, by day."),
    "sample": _Verb(
        "gateway.cli.sample", "sample", "Set, show, stop masked samples; list files; delete by subject."
    ),
    "key": _Verb("gateway.cli.key", "key", "Create, list, revoke API keys."),
    "token": _Verb("gateway.cli.token", "token", "Check a token: whom it speaks for, or why it is refused."),
    "policy": _Verb("gateway.cli.policy", "policy", "Check, explain, test, change who may do what."),
}


class _Verbs(click.Group):
    """The verbs in the order of a first visit; their modules are loaded only when one is run or its help is asked."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        verb = _VERBS.get(cmd_name)
        if verb is None:
            return None
        command = getattr(importlib.import_module(verb.module), verb.attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.summary) for name, verb in _VERBS.items()])


@click.command(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="MAAS_URL names the control plane (default http://127.0.0.1:8090), MAAS_KEY holds your key. "
    "Status: 0 done, 1 refused or failed, 2 wrong usage.",
)
@click.version_option(package_name="maas", prog_name="maas")
def maas() -> None:
    """A Model-as-a-Service gateway: applications call an alias, the gateway decides which model version answers."""


def main() -> None:
    """Entry point of the `maas` script."""
    maas(prog_name="maas")


if __name__ == "__main__":
    main()
