"""`maas init`: the settings file, the first rules, the secret, the database and the first admin key."""

import os
import shlex
from pathlib import Path
from typing import Any

import click

from gateway.cli.output import Refused, emit_json, json_option, note, safe, say
from gateway.cli.settings_file import settings_text
from gateway.errors import GatewayError
from gateway.settings import Settings, SettingsError, load_settings

_RULES = """\
# The rules of a fresh installation. They are read once, into the database, at the first `maas serve`; change them there
# (`maas policy`), where every change is validated and audited.
#
# p, SUBJECT, DOMAIN, OBJECT, ACTION, EFFECT    what a subject may (allow) or must not (deny) do
# g, SUBJECT, ROLE, DOMAIN                      who has which role; DOMAIN * means in every domain
#
# A subject is app:NAME, user:NAME or role:NAME. A domain is the team that owns an alias. An object is an alias, or
# @keys, @policy, @pools, @models, @quotas, @samples, @audit, @workers in the domain platform. Actions: infer, pin, read, flip, approve,
# admin, critical-plus. * stands for any domain, object or action. A deny wins over every allow; what no row allows is denied.
p, role:consumer, *, *, infer, allow
p, role:consumer, *, *, read, allow
p, role:owner, *, *, read, allow
p, role:owner, *, *, infer, allow
p, role:owner, *, *, pin, allow
p, role:owner, *, *, flip, allow
p, role:approver, *, *, read, allow
p, role:approver, *, *, approve, allow
p, role:reader, *, *, read, allow
p, role:admin, *, *, *, allow

g, user:admin, role:admin, *
"""
_CASES = """\
subject,domain,object,action,expected,why
user:admin,platform,@keys,admin,allow,the first key of an installation makes the others
user:admin,platform,@policy,admin,allow,and gives out the first rights
app:nobody,platform,@keys,admin,deny,who has no row has no rights
"""


@click.command(
    epilog="""\b
Examples:
  maas init
  maas init --dir /etc/maas --database-url postgresql://maas@10.0.0.2/maas"""
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Where everything goes (default: this folder).",
)
@click.option("--database-url", help="The control plane's database (default: SQLite in the data folder).")
@json_option
def init(folder: Path, database_url: str | None, as_json: bool) -> None:
    """Write a commented maas.toml, make the secret and the database, and print the first admin key, once.

    Nothing that exists is overwritten.
    """
    folder = folder.resolve()
    path = folder / "maas.toml"
    if path.exists():
        raise Refused(f"{path} exists already; edit it, or name another folder with --dir")
    # Where the environment names the data folder, the file names the same one: it is read without that variable too.
    data_dir = Path(os.environ.get("MAAS_DATA_DIR") or folder / "maas-data").absolute()
    chosen: dict[str, Any] = {"data_dir": data_dir, "policies.folder": folder / "policies"}
    if database_url is not None:
        chosen["database.url"] = database_url
    draft = folder / f".maas.toml.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Its owner's alone: the database's password may stand in it.
        draft.touch(mode=0o600)
        draft.write_text(settings_text(chosen))
        settings = load_settings(draft, os.environ)
        key = _first_admin(settings)
        _write_policies(folder / "policies")
        draft.rename(path)
    except SettingsError as error:
        raise Refused("; ".join(error.problems)) from error
    except GatewayError as error:
        raise Refused(f"the database cannot be made: {error.detail}") from error
    except ValueError as error:
        raise Refused(f"database.url: {error}") from error
    except OSError as error:
        raise Refused(f"{error.filename or folder} cannot be written: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    _tell(path, settings, key, as_json)


def _first_admin(settings: Settings) -> str | None:
    from gateway.controlplane.access.service import create_first_admin
    from gateway.secret import load_secret

    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return create_first_admin(settings.database_url, load_secret(settings))


def _write_policies(folder: Path) -> None:
    """The first rules, where nobody has put any."""
    if folder.exists():
        return
    from gateway.policy.stock import MODEL

    folder.mkdir()
    (folder / "model.conf").write_text(MODEL.lstrip())
    (folder / "rules.csv").write_text(_RULES)
    (folder / "cases.csv").write_text(_CASES)


def _tell(path: Path, settings: Settings, key: str | None, as_json: bool) -> None:
    if as_json:
        emit_json({"settings": str(path), "data_dir": str(settings.data_dir), "admin_key": key})
        return
    note(f"Settings:  {path}")
    note(f"Data:      {settings.data_dir}")
    if key is None:
        say("The database has an admin key already; no other was made.")
        return
    note("The key of user:admin follows. It is shown this once; keep it where secrets are kept.")
    print(safe(key))
    note(f"Next:      maas serve --config {shlex.quote(str(path))}")
    note("           export MAAS_KEY=THAT-KEY; maas policy show")
