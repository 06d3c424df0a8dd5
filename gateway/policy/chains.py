"""How deep roles inherit roles, and which chains are too deep.

Stock Casbin's role manager follows a chain over nine rows and no further; what lies behind is silently not
had. That would make a role's deny vanish without a word, so such a policy is refused instead.
"""

from collections.abc import Iterable, Mapping, Sequence

MAX_LINKS = 9
"""Stock Casbin builds its role managers with `max_hierarchy_level=10`, and counts the subject itself as one
level."""

MAX_STEPS = 5_000_000
"""Rows followed before the search gives up, at most about a second. Where roles inherit in trees it takes none,
in circles of tens of roles thousands; with thousands of roles in circles it would take minutes."""

EVERYWHERE = "*"

Link = tuple[str, str, str]
"""(subject, role, domain), as in a `g` row."""

Steps = Mapping[str, Sequence[str]]


class TooEntangledError(Exception):
    """Roles inherit each other in circles too wide to search within `MAX_STEPS`; `row` is one of their
    rows."""

    def __init__(self, row: int) -> None:
        super().__init__(row)
        self.row = row


class _Search:
    """The steps from name to name in one domain, counted over all domains."""

    def __init__(self) -> None:
        self.left = MAX_STEPS

    def after(self, name: str, here: Steps, everywhere: Steps) -> tuple[str, ...]:
        found = (*here.get(name, ()), *everywhere.get(name, ()))
        self.left -= 1 + len(found)
        return found


def deep_chains(links: Sequence[Link]) -> list[tuple[int, tuple[str, ...]]]:
    """For each domain in which some role is more than `MAX_LINKS` rows away from who has it, counted along
    the shortest way: the index of the last row of one such chain, and the chain's names. Cycles add no depth.

    A chain that lies wholly in the rows for every domain is reported once, for `*`. Raises
    `TooEntangledError`.
    """
    suspects = _starts_of_long_walks(links)
    if not suspects:
        return []
    down = _steps(links)
    up = _steps((role, subject, domain) for subject, role, domain in links)
    rows = {link: row for row, link in reversed(list(enumerate(links)))}
    search = _Search()
    found = []
    for domain, here in down.items():
        everywhere = down.get(EVERYWHERE, {})
        # A chain without a row of this domain is the business of `*`: only names that reach one matter.
        starts = suspects & _reached(search, here, up[domain], up.get(EVERYWHERE, {}))
        chain = _first_deep(search, starts, here, everywhere)
        if search.left < 0:
            raise TooEntangledError(min(rows[name, role, domain] for name in here for role in here[name]))
        if chain:
            last, end = chain[-2:]
            row = rows.get((last, end, domain))
            found.append((rows[last, end, EVERYWHERE] if row is None else row, chain))
    return found


def _steps(links: Iterable[Link]) -> dict[str, dict[str, list[str]]]:
    by_domain: dict[str, dict[str, list[str]]] = {}
    for start, end, domain in links:
        by_domain.setdefault(domain, {}).setdefault(start, []).append(end)
    return by_domain


def _starts_of_long_walks(links: Sequence[Link]) -> set[str]:
    """The names from which one can walk more than `MAX_LINKS` rows, whatever their domain, cycles included.

    Every chain that is too deep begins at one of them. In most policies there are none, and this is all the
    work.
    """
    names = {role for _, role, _ in links}
    for _ in range(MAX_LINKS + 1):
        names = {subject for subject, role, _ in links if role in names}
    return names


def _reached(search: _Search, starts: Iterable[str], here: Steps, everywhere: Steps) -> set[str]:
    seen = set(starts)
    pending = list(seen)
    while pending and search.left >= 0:
        for after in search.after(pending.pop(), here, everywhere):
            if after not in seen:
                seen.add(after)
                pending.append(after)
    return seen


def _first_deep(search: _Search, starts: set[str], here: Steps, everywhere: Steps) -> tuple[str, ...]:
    """The names along one shortest chain of `MAX_LINKS + 1` rows, breadth first; empty when there is none."""
    for start in sorted(starts):
        if search.left < 0:
            break
        before = {start: start}
        level = [start]
        for _ in range(MAX_LINKS + 1):
            after = []
            for name in level:
                for role in search.after(name, here, everywhere):
                    if role not in before:
                        before[role] = name
                        after.append(role)
            level = after
        if level:
            chain = [level[0]]
            while chain[-1] != start:
                chain.append(before[chain[-1]])
            return tuple(reversed(chain))
    return ()
