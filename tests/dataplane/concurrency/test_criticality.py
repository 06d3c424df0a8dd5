"""What `Maas-Criticality` may say, and who may say it."""

import pytest

from gateway.dataplane.concurrency.criticality import CRITICAL, CRITICAL_PLUS, NAMES, level_of
from gateway.errors import GatewayError, Kind
from gateway.types import Alias, Permit, Principal

ALIAS = Alias("digits", "vision", b"", True, (), (), (), {}, {})


def permit(*, may_go_first: bool) -> Permit:
    return Permit(
        Principal("app:shop", "k"), ALIAS, "infer", False, may_go_first
    )  # a made-up proof, for its parts


def test_a_call_that_says_nothing_is_critical() -> None:
    """As in Google's book: the default of production traffic."""
    assert level_of(None, permit(may_go_first=False)) == CRITICAL


def test_everybody_may_call_as_something_lower() -> None:
    """And the levels stand in their order."""
    levels = [level_of(name.encode(), permit(may_go_first=False)) for name in NAMES[1:]]
    assert levels == [1, 2, 3]


def test_critical_plus_is_for_those_whom_the_policy_allows_it() -> None:
    """Else it would be everybody's, and the fifth that is kept for it nobody's."""
    assert level_of(b"critical-plus", permit(may_go_first=True)) == CRITICAL_PLUS
    with pytest.raises(GatewayError, match="app:shop may not call alias digits as critical-plus") as refused:
        level_of(b"critical-plus", permit(may_go_first=False))
    assert refused.value.kind is Kind.FORBIDDEN


@pytest.mark.parametrize(
    "value", [b"", b"CRITICAL", b"critical ", b"high", b"\xff", b"1", b"critical-plus-plus"]
)
def test_anything_else_is_refused_with_the_four_names(value: bytes) -> None:
    """A caller that misspells it learns of it, instead of being shed one day."""
    with pytest.raises(GatewayError) as refused:
        level_of(value, permit(may_go_first=True))
    assert refused.value.kind is Kind.BAD_REQUEST
    assert all(name in refused.value.detail for name in NAMES)
