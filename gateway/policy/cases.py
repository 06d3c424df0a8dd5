"""Decisions that must hold: a table that people keep beside the rules, run before rules are accepted."""

import csv
from collections.abc import Iterable
from io import StringIO
from pathlib import Path

import msgspec

from gateway.policy.compiled import CompiledPolicy
from gateway.policy.rules import ALLOW, DENY
from gateway.policy.source import PolicyError, text_of

COLUMNS = ["subject", "domain", "object", "action", "expected", "why"]


class Case(msgspec.Struct, frozen=True):
    """One decision that must hold; `expected` is `allow` or `deny`, `why` says what breaks otherwise."""

    subject: str
    domain: str
    object: str
    action: str
    expected: str
    why: str
    line: int = 0


class CaseFailure(msgspec.Struct, frozen=True):
    """A case that does not hold, and how the policy came to its other decision."""

    case: Case
    got: str
    explanation: str


def read_cases(path: Path | str) -> list[Case]:
    """Reads a CSV file (quoted as usual, a header line first, `#` lines skipped) of the columns `COLUMNS`.

    Raises `PolicyError` with all its problems and their line numbers. An empty field of the request is
    allowed: that it is denied may well be a case. A file without cases is refused, because it would hold for
    every policy.
    """
    cases: list[Case] = []
    problems: list[str] = []
    header: list[str] | None = None
    reader = csv.reader(StringIO(text_of(path), newline=""), strict=True, skipinitialspace=True)
    try:
        for fields in reader:
            row = [field.strip() for field in fields]
            if not any(row) or row[0].startswith("#"):
                continue
            if header is None:
                header = row
                if row != COLUMNS:
                    problems.append(f"line {reader.line_num}: the first line must be {','.join(COLUMNS)}")
            elif len(row) != len(COLUMNS):
                problems.append(f"line {reader.line_num}: {len(row)} fields where a case has {len(COLUMNS)}")
            elif row[4] not in (ALLOW, DENY):
                problems.append(f"line {reader.line_num}: expected is {row[4]!r}; it must be allow or deny")
            elif not row[5]:
                problems.append(f"line {reader.line_num}: a case says why it must hold")
            else:
                subject, domain, obj, action, expected, why = row
                cases.append(Case(subject, domain, obj, action, expected, why, reader.line_num))
    except csv.Error as error:
        problems.append(f"line {reader.line_num}: {error}")
    if not problems and not cases:
        problems.append("there are no cases")
    if problems:
        raise PolicyError(problems)
    return cases


def run_cases(policy: CompiledPolicy, cases: Iterable[Case]) -> list[CaseFailure]:
    """The cases that do not hold under the policy, in their order."""
    failures = []
    for case in cases:
        request = (case.subject, case.domain, case.object, case.action)
        got = ALLOW if policy.decide(*request) else DENY
        if got != case.expected:
            failures.append(CaseFailure(case, got, policy.explain(*request).text))
    return failures
