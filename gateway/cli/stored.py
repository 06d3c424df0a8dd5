"""`maas sample files`, `delete-subject`, `deletions`: what was kept, and its end."""

import sys
import time
from pathlib import Path

import click

from gateway.cli import arguments
from gateway.cli.client import Control
from gateway.cli.output import Refused, confirm, emit_json, json_option, moment, say, table
from gateway.cli.serve import config_option, read_settings


@click.command(
    epilog="""\b
Examples:
  maas sample files digits
  duckdb -c "SELECT arm, count(*) FROM read_parquet('maas-data/samples/**/*.parquet') GROUP BY arm" """
)
@click.argument("name", type=arguments.name, metavar="[ALIAS]", required=False)
@click.option("--url", help="Where the samples are (default: what the settings say).")
@config_option
@json_option
def files(name: str | None, url: str | None, config: Path | None, as_json: bool) -> None:
    """List the sample files, of one alias or all. Looks at the store itself, so it runs where that can be reached."""
    from gateway.sampling.store import Store

    where = url or read_settings(config).samples_url
    try:
        found = list(Store(where).files(name))
    except Exception as error:
        raise Refused(f"the samples at {where} cannot be listed: {type(error).__name__}: {error}") from error
    if as_json:
        emit_json(
            [
                {"path": file.path, "alias": file.partition.alias, "version": file.partition.version,
                 "date": file.partition.date.isoformat(), "size_bytes": file.size_bytes}
                for file in found
            ]
        )  # fmt: skip
        return
    table(
        ("alias", "version", "date", "bytes", "file"),
        [
            (
                file.partition.alias,
                file.partition.version,
                file.partition.date,
                file.size_bytes,
                file.path.rpartition("/")[2],
            )
            for file in found
        ],
        empty=f"There are no samples at {where}.",
    )


@click.command(
    epilog="""\b
Examples:
  maas sample delete-subject user-4711 --reason "request of 3 March" --yes
  maas sample delete-subject app:storefront --yes --wait 300
  pass show subject | maas sample delete-subject - --yes       not in the shell's history"""
)
@click.argument("subject", metavar="SUBJECT")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0),
    default=0.0,
    metavar="SECONDS",
    help="Wait until it is done.",
)
@click.option("--reason", help="Why; kept in the audit.")
@click.option("--yes", is_flag=True, help="Do it without asking.")
@json_option
def delete_subject(subject: str, wait_s: float, reason: str | None, yes: bool, as_json: bool) -> None:
    """Delete everything that was kept of a subject until now: a principal (app:NAME) or a routing key; `-` reads it.

    Workers take it out of files and of what waits to be written. Neither the subject nor its samples are logged; the audit
    names its pseudonym.
    """
    if subject == "-":
        subject = sys.stdin.readline().rstrip("\r\n")
    if not subject:
        raise click.UsageError("the subject is empty")
    confirm("Delete all samples of this subject, of every alias, for good?", yes)
    body = {"subject": subject} | ({"reason": reason} if reason else {})
    with Control.from_environment() as control:
        done = control.post("/api/v1/samples/deletions", body)
        until = time.monotonic() + wait_s
        while done["state"] != "done" and time.monotonic() < until:
            time.sleep(min(1.0, wait_s))
            found = control.get("/api/v1/samples/deletions", limit=1000)["deletions"]
            done = next((each for each in found if each["id"] == done["id"]), done)
    if as_json:
        emit_json(done)
    elif done["state"] == "done":
        say(f"Deletion {done['id']} is done.")
    else:
        say(f"Deletion {done['id']} is asked for; `maas sample deletions` tells when it is done.")
    if wait_s and done["state"] != "done":
        raise Refused(f"deletion {done['id']} waits for {', '.join(done['waiting_for']) or 'a worker'}")


@click.command()
@json_option
def deletions(as_json: bool) -> None:
    """List the deletions by subject, and which workers have not carried them out yet."""
    with Control.from_environment() as control:
        found = control.get("/api/v1/samples/deletions")["deletions"]
    if as_json:
        emit_json(found)
    else:
        table(
            ("deletion", "pseudonym", "asked for", "by", "reason", "state", "waits for"),
            [
                (
                    d["id"],
                    d["subject"],
                    moment(d["at"]),
                    d["by"],
                    d["reason"],
                    d["state"],
                    " ".join(d["waiting_for"]),
                )
                for d in found
            ],
            empty="Nobody's samples were deleted.",
        )
