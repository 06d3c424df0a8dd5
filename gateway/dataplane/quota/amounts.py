"""How much a request counts for: what is known when it is admitted, and what turned out when it ended."""

from collections.abc import Sequence

from gateway.dataplane.call import Call
from gateway.dataplane.quota.bind import Bound
from gateway.dataplane.quota.limits import Counter, Limit
from gateway.dataplane.quota.rows import Twice, rows_by_parsing, rows_of
from gateway.errors import GatewayError, Kind
from gateway.upstream.exchange import SEEN_BYTES


def bound_amounts(bound: Bound, call: Call) -> Sequence[int]:
    """As `amounts_of` for the enforced counters, without looking at those of which every request takes one."""
    if not bound.varying:
        return bound.amounts
    amounts = list(bound.amounts)
    for place in bound.varying:
        amounts[place] = _amount(bound.enforced[place], call)
    return amounts


def amounts_of(counters: tuple[Counter, ...], call: Call) -> tuple[int, ...]:
    """The units that the call takes of each counter. Leaves the batch rows with the call's trail where they are limited."""
    return tuple(_amount(counter, call) for counter in counters)


def _amount(counter: Counter, call: Call) -> int:
    limit = counter.limit
    if limit.unit == "content-bytes":
        length = 0 if call.body is None else call.body.length
        return limit.estimate if length is None else length
    if limit.unit == "tokens":
        # What a request may use at most is more than a small limit ever holds; what it does use may well fit.
        return min(call.trail.expected_tokens, counter.burst) or limit.estimate
    if limit.unit == "inferences":
        rows = call.trail.inferences = _rows(call, limit)
        return rows
    return 1


def outcome_of(counter: Counter, amount: int, call: Call) -> int:
    """What the call really took of a counter of which it held `amount`: of those at a time nothing, now that it is over.

    Tokens that nobody told are those reserved, unless the model was not reached or refused the request: a reply that
    broke off has cost what it has cost.
    """
    unit = counter.limit.unit
    if unit == "concurrent-requests":
        return 0
    if unit == "content-bytes" and call.body is not None:
        return call.body.received if call.body.length is None else call.body.length
    if unit == "tokens":
        exchange = call.trail.exchange
        if call.trail.tokens:
            return call.trail.tokens
        if exchange is None or not exchange.started or exchange.status >= 400:
            return 0
    return amount


def _rows(call: Call, limit: Limit) -> int:
    """The batch rows of an inference: the first dimension of its first input.

    Raises BAD_REQUEST where they stand too far behind to be seen: what cannot be counted cannot be limited. A shadow
    policy, which refuses nothing, counts its estimate.
    """
    if call.protocol == "grpc":
        return call.trail.inferences  # seen when its message was read
    if call.operation.name != "infer" or call.body is None:
        return 1
    text = call.body.text()
    if text is None:
        return limit.estimate
    rows = rows_of(text)
    if rows is None:
        try:
            rows = rows_by_parsing(text)
        except Twice as twice:
            raise GatewayError(
                Kind.BAD_REQUEST,
                f"{twice} stands twice in the request's JSON; {limit.name} counts by it.",
                close=True,
            ) from twice
        except ValueError as error:
            if not limit.shadow:
                raise GatewayError(
                    Kind.BAD_REQUEST,
                    f"{limit.name} counts batch rows, and the shape of the first input is not seen in the first "
                    f"{SEEN_BYTES // 1024} KiB of JSON; put each input's shape before its data.",
                    close=True,
                ) from error
    return limit.estimate if rows is None else rows
