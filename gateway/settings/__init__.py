"""What a gateway process is told at its start: `shape` says what there is, `reading` decodes it, `faults` what makes no sense."""

from gateway.settings.faults import MOST_WORKERS
from gateway.settings.reading import load_settings, settings_bytes, settings_of
from gateway.settings.shape import (
    AdmissionSettings,
    Inference,
    Logs,
    PoolSettings,
    Quota,
    Role,
    SequenceSettings,
    Settings,
    SettingsError,
    Upstream,
)

__all__ = [
    "MOST_WORKERS",
    "AdmissionSettings",
    "Inference",
    "Logs",
    "PoolSettings",
    "Quota",
    "Role",
    "SequenceSettings",
    "Settings",
    "SettingsError",
    "Upstream",
    "load_settings",
    "settings_bytes",
    "settings_of",
]
