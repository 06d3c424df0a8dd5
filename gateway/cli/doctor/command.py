"""`maas doctor`: looks, and says what to do."""

import os
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from gateway.cli.doctor.findings import Finding, broken, ok
from gateway.cli.output import Refused, emit_json, json_option, say
from gateway.cli.serve import config_option, settings_path
from gateway.settings import Settings, SettingsError, load_settings


@click.command(
    epilog="""\b
Examples:
  maas doctor
  maas doctor --config /etc/maas/maas.toml --json"""
)
@config_option
@json_option
def doctor(config: Path | None, as_json: bool) -> None:
    """Check an installation: settings, permissions, database, snapshot, endpoints, issuers, models, samples, clock, ports, limits.

    Every finding that is not ok says what to do. Status 1 when something is broken. With a MAAS_KEY that may read
    @workers, the data-plane workers are looked at too.
    """
    path = settings_path(config)
    try:
        settings = load_settings(path, os.environ)
    except SettingsError as error:
        todo = f"correct it in {path or 'the environment'}"
        findings = [broken("settings", problem, todo) for problem in error.problems]
    else:
        findings = [ok("settings", f"{path or 'no file: defaults'}, role {settings.role}"), *_look(settings)]
    if as_json:
        emit_json([msgspec.to_builtins(finding) for finding in findings])
    else:
        _tell(findings)
    count = sum(finding.severity == "broken" for finding in findings)
    if count:
        raise Refused(
            f"{count} of {len(findings)} findings {'is' if count == 1 else 'are'} broken; see what to do there"
        )


def _look(settings: Settings) -> Iterator[Finding]:
    from gateway.cli.doctor import (
        collector,
        issuers,
        machine,
        planes,
        quotas,
        retiring,
        samples,
        serving,
        stores,
        workers,
    )

    yield from machine.look_at_machine(settings)
    yield from issuers.look_at_issuers(settings)
    yield from collector.look_at_collector(settings)
    yield from stores.look_at_quota_store(settings)
    yield from stores.look_at_sequence_store(settings)
    yield from planes.look_at_database(settings)
    yield from planes.look_at_control_plane(settings)
    newest = planes.published(settings)
    if isinstance(newest, Finding):
        yield newest
        newest = None
    findings, document = planes.look_at_snapshot(settings, newest)
    yield from findings
    yield from workers.look_at_processes(settings)
    yield from workers.look_at_workers(settings, newest)
    yield from serving.look_at_serving(settings, document)
    yield from retiring.look_at_deprecations(settings, document)
    yield from samples.look_at_samples(settings, document)
    yield from quotas.look_at_quotas(settings)


def _tell(findings: list[Finding]) -> None:
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        style = {"ok": "green", "warning": "yellow", "broken": "red"}[finding.severity]
        # click takes the colours off where no terminal is.
        click.echo(f"{click.style(f'{finding.severity:<8}', fg=style)} ", nl=False)
        say(f"{finding.check:<{width}}  {finding.found}")
        if finding.todo:
            say(f"{'':<{9 + width}}  -> {finding.todo}")
