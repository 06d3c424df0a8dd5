"""`maas token`: what a gateway of these settings makes of a token, and why it refuses one. Callers are never told."""

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from gateway.cli.output import Refused, emit_json, json_option, moment, note, say
from gateway.cli.serve import config_option, read_settings
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.tokens.tokens import Tokens
    from gateway.types import Principal

_WHY = {
    "malformed": "it is no JSON Web Token in its compact form (three parts, strict JSON, at most 8 KiB)",
    "header": "its header asks for what is not accepted: another `typ` than JWT or at+jwt, `crit`, `cty`, encryption",
    "issuer": "its `iss` is not, letter by letter, the `issuer` of any table [issuers.NAME]",
    "algorithm": "its `alg` is not among the issuer's `algorithms`",
    "key": "the issuer publishes no key with its `kid` for its `alg`",
    "signature": "its signature is not that of the key which it names",
    "expired": "it has expired, or has no `exp`",
    "not_yet": "its `nbf` or `iat` lies in the future: compare the clocks",
    "audience": "its `aud` has none of the issuer's `audience`: have the issuer add it",
    "bound": "it is bound to a key of its holder (`cnf`), which nobody can prove here; have it issued as a bearer token",
    "principal": "its claims fill the `principal` template with no name: 1 to 128 letters, digits, '.', '_', '-'",
}


@click.group()
def token() -> None:
    """Tokens: what this gateway makes of them."""


@token.command(
    epilog="""\b
Examples:
  MAAS_KEY=$TOKEN maas token check
  maas token check token.txt --config /etc/maas/maas.toml
  get-token | maas token check - --json"""
)
@click.argument("file", type=click.File(), required=False)
@config_option
@json_option
def check(file: TextIO | None, config: Path | None, as_json: bool) -> None:
    """Check a token against the issuers of these settings: its principal and roles, or why it is refused.

    FILE holds the token, - stands for standard input; without it, the one in MAAS_KEY is checked. The issuers' keys are
    fetched now; of one that is away the last good keys are used. Status 1 when the token is refused.
    """
    text = (os.environ.get("MAAS_KEY", "") if file is None else file.read()).strip()
    if not text:
        raise Refused("there is no token; set MAAS_KEY, or name a file or - for standard input")
    settings = read_settings(config)
    if not settings.issuers:
        raise Refused("these settings declare no issuer; add a table [issuers.NAME] (docs/tokens.md)")
    from gateway.tokens.form import Refused as NotAccepted

    try:
        found = _tokens(settings).verify(text.encode(), time.time())
    except NotAccepted as error:
        of = f" (issuer {error.issuer})" if error.issuer else ""
        raise Refused(f"the token is refused{of}: {_WHY[error.reason]}") from error
    _tell(found, as_json)


def _tokens(settings: Settings) -> "Tokens":
    from gateway.tokens.fetch import FetchFailed, fetch_keys
    from gateway.tokens.keys import KeysRefused, read_keys
    from gateway.tokens.last_good import LastGoodKeys
    from gateway.tokens.refresh import Refresher
    from gateway.tokens.tokens import Tokens

    tokens = Tokens(settings.issuers)
    Refresher(tokens, LastGoodKeys(settings.data_dir / "issuers")).start_from_disk()
    for name, issuer in settings.issuers.items():
        try:
            tokens.replace(name, read_keys(asyncio.run(fetch_keys(issuer)), issuer.algorithms))
        except (FetchFailed, KeysRefused) as error:
            note(f"issuer {name}: {error}")
    return tokens


def _tell(found: "Principal", as_json: bool) -> None:
    expires_at = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(found.expires_at))
    if as_json:
        emit_json(
            {
                "principal": found.id,
                "issuer": found.issuer,
                "roles": [list(each) for each in found.roles],
                "accepted_until": expires_at,
            }
        )
        return
    say(f"principal       {found.id}")
    say(f"issuer          {found.issuer}")
    say(
        f"roles           {', '.join(f'{role} in {team}' for role, team in found.roles) or 'none by its claims'}"
    )
    say(f"accepted until  {moment(expires_at)}")
