"""What a policy of N grants and N role rows costs: to compile, to ask once, to ask again; beside stock Casbin.

`python loadtests/policy_scale.py [--rows 100,1000,10000] [--stock-up-to 1000]`

Stock Casbin's first decision is quadratic in the rows (1 000 take a second, 10 000 take minutes), which is why it is
asked only up to `--stock-up-to`. Times are medians on one core unless the column says otherwise.
"""

import argparse
import gc
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from gateway.policy.compiled import CompiledPolicy, compile_policy
from gateway.policy.rules import Grant, PolicyRules, RoleAssignment

Request = tuple[str, str, str, str]


def own_roles(rows: int) -> tuple[PolicyRules, list[Request]]:
    """Everybody has a role of their own, which may do one thing to one alias."""
    grants = [Grant(f"role:r{n}", f"team{n % 50}", f"alias{n}", "infer") for n in range(rows)]
    roles = [RoleAssignment(f"app:a{n}", f"role:r{n}", f"team{n % 50}") for n in range(rows)]
    return _policy(grants, roles), [(f"app:a{n}", f"team{n % 50}", f"alias{n}", "infer") for n in range(rows)]


def few_roles(rows: int) -> tuple[PolicyRules, list[Request]]:
    """Everybody has one of 20 roles in one of 50 teams; each role may call many aliases."""
    grants = [Grant(f"role:r{n % 20}", "*", f"alias{n}", "infer") for n in range(rows)]
    roles = [RoleAssignment(f"app:a{n}", f"role:r{n % 20}", f"team{n % 50}") for n in range(rows)]
    return _policy(grants, roles), [(f"app:a{n}", f"team{n % 50}", f"alias{n}", "infer") for n in range(rows)]


def deep_roles(rows: int) -> tuple[PolicyRules, list[Request]]:
    """Chains of nine role rows, as deep as is allowed, with the right at their end and a deny for some."""
    roles = [
        RoleAssignment(
            f"role:c{n // 9}-{n % 9}" if n % 9 else f"app:a{n // 9}", f"role:c{n // 9}-{n % 9 + 1}", "*"
        )
        for n in range(rows)
    ]
    grants = [
        Grant(
            f"role:c{n}-{9 - n % 3}",
            "*",
            "*" if n % 2 else f"alias{n}",
            "infer",
            "allow" if n % 5 else "deny",
        )
        for n in range(rows)
    ]
    return _policy(grants, roles), [(f"app:a{n}", "team1", f"alias{n}", "infer") for n in range(rows // 9)]


def one_subject(rows: int) -> tuple[PolicyRules, list[Request]]:
    """One application has all the roles."""
    grants = [Grant(f"role:r{n}", "team", f"alias{n}", "infer") for n in range(rows)]
    roles = [RoleAssignment("app:all", f"role:r{n}", "team") for n in range(rows)]
    return _policy(grants, roles), [("app:all", "team", f"alias{n}", "infer") for n in range(rows)]


def hub(rows: int) -> tuple[PolicyRules, list[Request]]:
    """Half of the rows put people into one role, the other half give that role many others."""
    half = rows // 2
    roles = [RoleAssignment(f"app:a{n}", "role:hub", "team") for n in range(half)]
    roles += [RoleAssignment("role:hub", f"role:r{n}", "*") for n in range(half)]
    grants = [Grant(f"role:r{n % half}", "*", f"alias{n}", "infer") for n in range(rows)]
    return _policy(grants, roles), [(f"app:a{n}", "team", f"alias{n}", "infer") for n in range(half)]


SHAPES = (own_roles, few_roles, deep_roles, one_subject, hub)


def _policy(grants: list[Grant], roles: list[RoleAssignment]) -> PolicyRules:
    return PolicyRules(tuple(grants), tuple(roles))


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _each_us(policy: CompiledPolicy, requests: list[Request]) -> list[float]:
    """Microseconds of each first decision; freshly compiled policies remember nothing."""
    taken = []
    for subject, domain, obj, action in requests:
        start = time.perf_counter_ns()
        policy.decide(subject, domain, obj, action)
        taken.append((time.perf_counter_ns() - start) / 1_000)
    return taken


def _again_us(policy: CompiledPolicy, request: Request, times: int = 200_000) -> float:
    """Mean microseconds of a remembered decision, the loop around it included."""
    subject, domain, obj, action = request
    policy.decide(subject, domain, obj, action)
    start = time.perf_counter()
    for _ in range(times):
        policy.decide(subject, domain, obj, action)
    return (time.perf_counter() - start) / times * 1e6


def _kept_mib(rules: PolicyRules, requests: list[Request]) -> float:
    """MiB that the compiled policy keeps beyond the rules themselves, with all these decisions remembered."""
    gc.collect()
    tracemalloc.start()
    policy = compile_policy(rules)
    for request in requests:
        policy.decide(*request)
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return kept / 2**20


def _stock(rules: PolicyRules, requests: list[Request]) -> str:
    from gateway.policy.stock import stock_enforcer

    enforcer = stock_enforcer(rules)
    first = _seconds(lambda: enforcer.enforce(*requests[0])) * 1e3
    later = [_seconds(lambda: enforcer.enforce(*requests[0])) * 1e3 for _ in range(5)]
    return f"{first:>13.1f} {statistics.median(later):>13.2f}"


def main() -> None:
    """Prints one line for each shape and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="100,1000,10000", help="sizes, separated by commas")
    parser.add_argument(
        "--stock-up-to", type=int, default=1000, help="largest size that stock Casbin is asked"
    )
    options = parser.parse_args()
    print(
        f"{'shape':<12} {'rows':>6} {'compile ms':>10} {'first µs':>9} {'p99 µs':>7} {'max µs':>7} {'again µs':>8} "
        f"{'MiB':>5} {'stock first ms':>14} {'stock later ms':>14}"
    )
    for shape in SHAPES:
        for rows in (int(size) for size in options.rows.split(",")):
            rules, requests = shape(rows)
            compile_ms = min(_seconds(lambda r=rules: compile_policy(r)) for _ in range(3)) * 1e3  # type: ignore[misc]
            policy = compile_policy(rules)
            first = sorted(_each_us(policy, requests))
            stock = _stock(rules, requests) if rows <= options.stock_up_to else f"{'-':>13} {'-':>13}"
            print(
                f"{shape.__name__:<12} {rows:>6} {compile_ms:>10.1f} {statistics.median(first):>9.1f} "
                f"{first[int(len(first) * 0.99)]:>7.1f} {first[-1]:>7.1f} {_again_us(policy, requests[0]):>8.2f} "
                f"{_kept_mib(rules, requests):>5.1f} {stock}",
                flush=True,
            )


if __name__ == "__main__":
    main()
