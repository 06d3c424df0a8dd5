"""Settings that are read again while a supervisor runs: what its next workers are told."""

import logging
from collections.abc import Callable

import msgspec

from gateway.settings import Settings, SettingsError

log = logging.getLogger(__package__)

_WORKERS_OWN = ("admission", "upstream", "embedded", "quota", "issuers", "logs", "samples", "traces")
_SUPERVISORS = ("host", "port", "grpc_port", "ops_port", "drain_notice_s")


def reread(read: Callable[[], Settings], first: Settings, serving: Settings) -> Settings | None:
    """What is to be served by from now on; None where the settings cannot be used, which is logged.

    `first` are the settings as this process read them, `serving` those that it made of them. What others than the
    workers go by too stays as it was: ports and notice, folder, role, number, secret, control plane, database, pools, policies.
    """
    try:
        wanted = read()
    except SettingsError as error:
        for problem in error.problems:
            log.error("the settings are not taken: %s", problem)
        return None
    kept = {name: getattr(serving.inference, name) for name in _SUPERVISORS}
    followed = {name: getattr(wanted, name) for name in _WORKERS_OWN}
    inference = msgspec.structs.replace(wanted.inference, **kept)
    for name in _changed(first, wanted):
        log.warning("%s is not changed under way; restart the gateway for that", name)
    return msgspec.structs.replace(serving, inference=inference, **followed)


def _changed(first: Settings, wanted: Settings) -> list[str]:
    """The settings that are another, and are read at the start alone."""
    names = [name for name in Settings.__struct_fields__ if name not in (*_WORKERS_OWN, "inference")]
    return [name for name in names if getattr(first, name) != getattr(wanted, name)] + [
        f"inference.{name}"
        for name in _SUPERVISORS
        if getattr(first.inference, name) != getattr(wanted.inference, name)
    ]
