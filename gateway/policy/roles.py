"""Who has which role where: the `g` rows as a graph for each domain, and the rows for every domain on top of
each."""

from collections.abc import Iterable, Iterator

import msgspec

from gateway.policy.rules import ANY, RoleAssignment


class Held(msgspec.Struct, frozen=True):
    """The roles that one name has directly in one domain; `heirs` are those among them that inherit
    anything."""

    roles: frozenset[str]
    heirs: tuple[str, ...]


class RoleGraph:
    """The role rows of one policy. Immutable."""

    def __init__(self, assignments: Iterable[RoleAssignment]) -> None:
        direct: dict[str, dict[str, set[str]]] = {}
        domains: dict[str, set[str]] = {}
        for each in assignments:
            direct.setdefault(each.domain, {}).setdefault(each.subject, set()).add(each.role)
            domains.setdefault(each.subject, set()).add(each.domain)
        self._direct = {
            domain: {
                name: Held(frozenset(roles), tuple(sorted(role for role in roles if role in domains)))
                for name, roles in names.items()
            }
            for domain, names in direct.items()
        }
        self._everywhere = self._direct.get(ANY, {})
        self._domains = domains

    def reach(self, subject: str, domain: str) -> tuple[frozenset[str], ...]:
        """Sets whose union is the subject and all roles that it has in the domain, inherited ones too.

        They are not merged: each is shared with all who have those roles, so a role that thousands inherit
        costs its own size once, and the work here is that of the roles which inherit, not of all that are
        had.
        """
        here = self._direct.get(domain, {})
        sets = [frozenset((subject,))]
        seen = {subject}
        pending = [subject]
        while pending:
            name = pending.pop()
            for held in (here.get(name), self._everywhere.get(name)):
                if held is None:
                    continue
                sets.append(held.roles)
                for heir in held.heirs:
                    if heir not in seen:
                        seen.add(heir)
                        pending.append(heir)
        return tuple(sets)

    def paths(self, subject: str, domain: str, given: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
        """For the subject and each role that it has in the domain, those `given` to it beside the rows too: the
        names on a shortest way there, both ends in."""
        here = self._direct.get(domain, {})
        ways: dict[str, tuple[str, ...]] = {subject: (subject,)}
        level = [subject]
        while level:
            after = []
            for name in level:
                beside = given if name == subject else ()
                for role in (*_sorted_roles(here.get(name), self._everywhere.get(name)), *beside):
                    if role not in ways:
                        ways[role] = (*ways[name], role)
                        after.append(role)
            level = after
        return ways

    def names_everywhere(self, subject: str) -> frozenset[str]:
        """The subject and the roles that it has in every domain."""
        return frozenset().union(*self.reach(subject, ANY))

    def domains_of(self, name: str) -> frozenset[str]:
        """The domains in which the name itself is given a role, `*` among them where it is."""
        return frozenset(self._domains.get(name, ()))


def _sorted_roles(*held: Held | None) -> Iterator[str]:
    for each in held:
        if each is not None:
            yield from sorted(each.roles)
