"""`maas key`: API keys. Only the gateway's digest of a key is kept, so it is printed once and never again."""

from datetime import datetime

import click

from gateway.cli import arguments
from gateway.cli.client import Control
from gateway.cli.output import confirm, emit_json, json_option, moment, note, safe, say, table


@click.group()
def key() -> None:
    """API keys of applications and people."""


@key.command(
    epilog="""\b
Examples:
  maas key create app:storefront --expires 90d --note "web shop"
  KEY=$(maas key create user:ana --expires 2027-03-31)"""
)
@click.argument("principal", type=arguments.principal, metavar="app:NAME|user:NAME")
@click.option("--expires", type=arguments.expiry, metavar="90d|DATE", help="When it ends (default: never).")
@click.option("--note", "text", help="What it is for; shown in `maas key list`.")
@json_option
def create(principal: str, expires: datetime | None, text: str | None, as_json: bool) -> None:
    """Create a key and print it, once. A key gives no rights: `maas policy` does."""
    wish = {"principal": principal}
    if expires is not None:
        wish["expires_at"] = expires.isoformat()
    if text is not None:
        wish["note"] = text
    with Control.from_environment() as control:
        made = control.post("/api/v1/keys", wish)
    if as_json:
        emit_json(made)
        return
    note(
        f"Key {made['id']} of {made['principal']}, valid {_until(made.get('expires_at'))}. It is shown this once:"
    )
    print(safe(made["key"]))


@key.command("list")
@json_option
def list_keys(as_json: bool) -> None:
    """List the keys: whose, until when, last used when. Never the keys themselves."""
    with Control.from_environment() as control:
        found = control.get("/api/v1/keys")["keys"]
    if as_json:
        emit_json(found)
    else:
        table(
            ("id", "principal", "created", "valid", "last used", "note"),
            [
                (
                    k["id"],
                    k["principal"],
                    moment(k["created_at"]),
                    f"revoked {moment(k['revoked_at'])}"
                    if k.get("revoked_at")
                    else _until(k.get("expires_at")),
                    moment(k.get("last_used_at")),
                    k.get("note"),
                )
                for k in found
            ],
            empty="There is no key that you may see.",
        )


@key.command()
@click.argument("key_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do it without asking.")
@json_option
def revoke(key_id: str, yes: bool, as_json: bool) -> None:
    """Revoke a key; within one second nobody gets in with it. ID is the one of `maas key list`."""
    if not key_id.isascii() or not key_id.replace("-", "").replace("_", "").isalnum():
        raise click.UsageError(f"{safe(key_id)!r} is no key id; see `maas key list`")
    with Control.from_environment() as control:
        confirm(f"Revoke key {safe(key_id)}? Its callers will get 401.", yes)
        control.delete(f"/api/v1/keys/{key_id}")
    if as_json:
        emit_json({"revoked": key_id})
    else:
        say(f"Key {key_id} is revoked.")


def _until(expires_at: str | None) -> str:
    return "for good" if expires_at is None else f"until {moment(expires_at)}"
