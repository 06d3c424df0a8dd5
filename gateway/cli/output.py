"""What verbs print: a table, a line or JSON. Names come from other people, so nothing in them reaches the terminal raw."""

import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

# Control characters move cursors and recolour; format characters turn text around (Unicode TR 36, section 3.3).
_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class Refused(click.ClickException):
    """The verb was refused or failed: one line why on standard error, exit status 1."""

    exit_code = 1

    def show(self, file: Any = None) -> None:
        """Print the one line."""
        click.echo(f"maas: {safe(self.message)}", err=True)


def safe(text: object) -> str:
    """`text` with every character escaped that could change what a terminal shows around it."""
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in _ESCAPED else char
        for char in str(text)
    )


def say(text: str = "") -> None:
    """Print one line on standard output."""
    print(safe(text))


def note(text: str) -> None:
    """Print one line on standard error: what a person should know and a script should not read."""
    click.echo(safe(text), err=True)


def moment(text: str | None, otherwise: str = "never") -> str:
    """A moment of the API as people read it, to the second."""
    return otherwise if text is None else f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--json` of every verb, passed on as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)


def force_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--force` of verbs that take something away."""
    words = "Although it is still called: its callers are cut off, and named in the audit. Takes a --reason."
    return click.option("--force", is_flag=True, help=words)(command)


def forced(force: bool, reason: str | None) -> dict[str, str]:
    """The parameters of a deletion. Raises `click.UsageError` for force without a reason."""
    if force and not reason:
        raise click.UsageError("--force cuts callers off; say why with --reason")
    return ({"force": "true"} if force else {}) | ({"reason": reason} if reason else {})


def emit_json(data: object) -> None:
    """Print `data` as JSON, in ASCII alone, so that it is as harmless on a terminal as in a pipe."""
    print(json.dumps(data, indent=2, ensure_ascii=True))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str = "Nothing there.") -> None:
    """Print a table: ruled where a person sits, aligned plain text in a pipe; `empty` where it has no rows."""
    cells = [[safe("" if cell is None else cell) for cell in row] for row in rows]
    if not cells:
        say(empty)
    elif sys.stdout.isatty():
        _ruled(columns, cells)
    else:
        widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
        for row in ([*columns], *cells):
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            print(line.rstrip())


def _ruled(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    ruled = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        ruled.add_column(column, overflow="fold")
    for row in rows:
        ruled.add_row(*(Text(cell) for cell in row))  # Text, because markup in a name must stay text
    Console().print(ruled)


def confirm(question: str, yes: bool) -> None:
    """Ask, unless `yes`. Raises `Refused` where nobody can answer; a no ends with status 1."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused("nobody is there to confirm this; add --yes to do it without the question")
    click.confirm(question, abort=True, err=True)
