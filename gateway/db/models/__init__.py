"""The tables, a module for each subject. They are gathered here: whoever knows one row knows them all, migrations first."""

from gateway.db.models.access import GrantRow, KeyRow, RoleRow
from gateway.db.models.aliases import AdapterRow, AliasRow, RevisionRow, TargetRow
from gateway.db.models.audit import AuditRow
from gateway.db.models.deprecations import DeprecationNoteRow, DeprecationRow
from gateway.db.models.quotas import QuotaRow
from gateway.db.models.registry import BaseRow, ModelRow, PoolRow, RecordRow, VersionRow
from gateway.db.models.samples import SampleDeletionRow, SamplingRow
from gateway.db.models.table import Revised, StateRow, Table
from gateway.db.models.workers import UsageRow, WorkerRow

__all__ = [
    "AdapterRow",
    "AliasRow",
    "AuditRow",
    "BaseRow",
    "DeprecationNoteRow",
    "DeprecationRow",
    "GrantRow",
    "KeyRow",
    "ModelRow",
    "PoolRow",
    "QuotaRow",
    "RecordRow",
    "Revised",
    "RevisionRow",
    "RoleRow",
    "SampleDeletionRow",
    "SamplingRow",
    "StateRow",
    "Table",
    "TargetRow",
    "UsageRow",
    "VersionRow",
    "WorkerRow",
]
