"""The policy of a snapshot, compiled for `snapshot.compile_snapshot`."""

from gateway.policy.compiled import compile_policy
from gateway.policy.rules import rules_from_rows
from gateway.snapshot.compile import Decide
from gateway.snapshot.document import PolicyEntry


def decider(entry: PolicyEntry) -> Decide:
    """The decision function of these rows. Raises `PolicyError`, a `ValueError`, with every problem of the
    rows."""
    return compile_policy(rules_from_rows(entry.grants, entry.roles)).decide
