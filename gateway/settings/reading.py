"""Decodes the settings once, from a TOML file and the environment; all faults are reported together.

`MAAS_INFERENCE__PORT=9000` sets `[inference] port`: two underscores step into a table. The environment wins over
the file. `MAAS_URL`, `MAAS_KEY` and `MAAS_CONFIG` belong to the command line and are no settings.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard, get_args, get_origin, get_type_hints

import msgspec

from gateway.settings.faults import find_faults
from gateway.settings.shape import Settings, SettingsError

_LISTS = frozenset({"endpoints", "grpc_endpoints", "audience", "algorithms"})
"""Settings that an environment variable gives with commas between their values."""

_NOT_SETTINGS = frozenset({"MAAS_URL", "MAAS_KEY", "MAAS_CONFIG"})


def load_settings(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Decode the settings file (if any) and the environment. Raises `SettingsError` with every problem."""
    raw: dict[str, Any] = {}
    if path is not None:
        try:
            raw = tomllib.loads(path.read_text())
        except OSError as error:
            raise SettingsError([f"{path}: {error.strerror}; write one with `maas init`"]) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError([f"{path}: {error}"]) from error
    for name, text in sorted((os.environ if environ is None else environ).items()):
        if name.startswith("MAAS_") and name not in _NOT_SETTINGS:
            _set(raw, name.removeprefix("MAAS_").lower().split("__"), text)
    problems = _problems(raw)
    settings = msgspec.convert(raw, Settings, strict=False, dec_hook=_read_path)
    problems += find_faults(settings)
    if problems:
        raise SettingsError(problems)
    return settings


def settings_bytes(settings: Settings) -> bytes:
    """The settings for another process of this gateway, which takes them by `settings_of`."""
    return msgspec.json.encode(settings, enc_hook=str)


def settings_of(data: bytes) -> Settings:
    """The settings that `settings_bytes` wrote."""
    return msgspec.json.decode(data, type=Settings, dec_hook=_read_path)


def _set(raw: dict[str, Any], steps: list[str], text: str) -> None:
    for step in steps[:-1]:
        child = raw.setdefault(step, {})
        raw = child if isinstance(child, dict) else {}
    raw[steps[-1]] = text.split(",") if steps[-1] in _LISTS else text


def _problems(raw: dict[str, Any]) -> list[str]:
    """Faults of single values, which are taken out of `raw`, so that one bad value does not hide the next."""
    hints = get_type_hints(Settings)
    found = _unusable(raw, hints, "")
    for name, value in raw.items():
        kind = hints[name]
        if _is_struct(kind):
            found += _unusable(value, get_type_hints(kind), f"{name}.")
        elif (each := _struct_of_each(kind)) is not None:
            found += _unusable(value, dict.fromkeys(value, each), f"{name}.")
            for key, table in list(value.items()):
                # A pool without its bad value is another pool: what is wrong with that one would mislead.
                if faults := _unusable(table, get_type_hints(each), f"{name}.{key}."):
                    found += faults
                    del value[key]
    return found


def _unusable(table: dict[str, Any], hints: dict[str, Any], where: str) -> list[str]:
    found: list[str] = []
    for name, value in list(table.items()):
        kind = hints.get(name)
        is_table = _is_struct(kind) or _struct_of_each(kind) is not None
        if kind is None:
            found.append(f"{where}{name}: unknown setting; known are {', '.join(hints)}")
        elif is_table and not isinstance(value, dict):
            found.append(f"{where}{name}: is a table; write [{where}{name}]")
        elif is_table or not (faults := _decode(value, kind, f"{where}{name}")):
            continue
        else:
            found += faults
        del table[name]
    return found


def _is_struct(kind: Any) -> TypeGuard[type[msgspec.Struct]]:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _struct_of_each(kind: Any) -> type[msgspec.Struct] | None:
    """The struct that each table under a setting is, where their names are free (`[pools.NAME]`)."""
    each = get_args(kind)[-1] if get_origin(kind) is dict else None
    return each if _is_struct(each) else None


def _decode(value: Any, kind: Any, where: str) -> list[str]:
    try:
        msgspec.convert(value, kind, strict=False, dec_hook=_read_path)
    except msgspec.ValidationError as error:
        return [f"{where}: {error}"]
    return []


def _read_path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    raise ValueError("expected a path")
