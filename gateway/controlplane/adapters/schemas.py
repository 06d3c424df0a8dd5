"""Adapters as the API takes and shows them."""

from datetime import datetime

import msgspec

from gateway.controlplane.fields import Reason
from gateway.snapshot.adapters import Adapter


class PutAdapter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an alias is called by way of the OpenAI API; what is not given has its default."""

    adapter: Adapter
    reason: Reason | None = None


class AdapterView(msgspec.Struct, frozen=True):
    """The adapter of an alias as it stands; what is not shown has its default."""

    alias: str
    team: str
    adapter: Adapter
    revision: int
    updated_at: datetime
    updated_by: str
    reason: str | None
