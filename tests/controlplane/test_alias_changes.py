"""Whatever people do to an alias, in whatever order: the promises about its changes hold after every step."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway.policy.rows import decider
from gateway.snapshot.compile import Snapshot, compile_snapshot
from gateway.snapshot.document import decode
from gateway.types import WHOLE_BP
from tests.controlplane.harness import Running, targets

Weights = tuple[tuple[int, int], ...]
Owners = tuple[int, ...]

SETTINGS = settings(
    max_examples=7,
    stateful_step_count=14,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@st.composite
def weights(draw: st.DrawFn) -> Weights:
    """One to three of the versions 1 to 3, with weights that sum to the whole; zeros among them."""
    versions = draw(st.permutations([1, 2, 3]))[: draw(st.integers(1, 3))]
    cuts = sorted(
        draw(st.lists(st.integers(0, WHOLE_BP), min_size=len(versions) - 1, max_size=len(versions) - 1))
    )
    ends = [*cuts, WHOLE_BP]
    return tuple(
        (version, end - start) for version, start, end in zip(versions, [0, *cuts], ends, strict=True)
    )


def machine(plane: Running) -> type[RuleBasedStateMachine]:
    """The machine on this control plane; each run has an alias of its own."""

    class AliasChanges(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.name = plane.fresh("machine")
            self.path = f"/api/v1/aliases/{self.name}"
            self.versions = [snapshot(plane).version]
            # What each revision left: its kind, its weights (None: deleted), who owns each bucket, and its salt.
            self.past: list[tuple[str, Weights | None, Owners, str]] = []

        @property
        def now(self) -> Weights | None:
            return self.past[-1][1] if self.past else None

        def done(self, kind: str, reply: Any, expected: Weights | None) -> None:
            """Remember what a change did."""
            assert reply.is_success, reply.text
            owners = () if expected is None else bucket_owners(plane, self.name)
            salt = "" if expected is None else reply.json()["salt"]
            self.past.append((kind, expected, owners, salt))
            self.versions.append(snapshot(plane).version)

        def put(self, wanted: Weights) -> Any:
            body = {"team": "vision", "targets": targets(*wanted), "reason": f"step {len(self.past)}"}
            tag = {"If-Match": f'"{len(self.past)}"'} if self.now is not None else {}
            return plane.lead.put(self.path, json=body, headers=tag)

        @rule(wanted=weights())
        def set_targets(self, wanted: Weights) -> None:
            """Create, or set; the same again is no change."""
            existed, same = self.now is not None, wanted == self.now
            reply = self.put(wanted)
            if same:
                assert reply.json()["revision"] == len(self.past)
            else:
                self.done("set" if existed else "create", reply, wanted)

        @precondition(lambda self: self.now is not None and len(self.now) > 1)
        @rule(data=st.data())
        def raise_a_candidate(self, data: st.DataObject) -> None:
            """Weight moves from the stable target to a candidate: nobody leaves any candidate."""
            assert self.now is not None
            (stable, left), *candidates = self.now
            which = data.draw(st.integers(0, len(candidates) - 1))
            more = data.draw(st.integers(0, left))
            raised = [(v, w + more if i == which else w) for i, (v, w) in enumerate(candidates)]
            wanted = ((stable, left - more), *raised)
            before, salt = self.past[-1][2], self.past[-1][3]
            reply = self.put(wanted)
            if wanted != self.now:
                self.done("set", reply, wanted)
            after = self.past[-1][2]
            assert self.past[-1][3] == salt
            assert all(new == old for old, new in zip(before, after, strict=True) if old != stable)

        @precondition(lambda self: self.now is not None)
        @rule()
        def delete(self) -> None:
            self.done("delete", plane.lead.delete(self.path, headers={"If-Match": "*"}), None)

        @precondition(lambda self: any(each[1] for each in self.past))
        @rule(data=st.data())
        def roll_back(self, data: st.DataObject) -> None:
            """The old revision's targets, salt and every single bucket."""
            whole = [number for number, each in enumerate(self.past, start=1) if each[1] is not None]
            number = data.draw(st.sampled_from(whole))
            _, wanted, owners, salt = self.past[number - 1]
            same = self.now is not None and self.past[-1][1:] == (wanted, owners, salt)
            reply = plane.lead.post(f"{self.path}/rollback", json={"to_revision": number})
            if same:
                assert reply.json()["revision"] == len(self.past)
                return
            self.done("rollback", reply, wanted)
            assert self.past[-1][2:] == (owners, salt)

        @precondition(lambda self: self.now is not None)
        @rule(wanted=weights(), stale=st.integers(0, 3))
        def overwrite_blindly(self, wanted: Weights, stale: int) -> None:
            """Without the current ETag nothing happens."""
            body = {"targets": targets(*wanted)}
            tag = {} if stale == 0 else {"If-Match": f'"{len(self.past) + stale}"'}
            assert plane.lead.put(self.path, json=body, headers=tag).status_code == (412 if tag else 428)

        @rule(wanted=weights(), wrong=st.sampled_from([1, -1, WHOLE_BP]))
        def set_nonsense(self, wanted: Weights, wrong: int) -> None:
            """Weights that are not whole change nothing."""
            (version, weight), *others = wanted
            body = {"team": "vision", "targets": targets((version, weight + wrong), *others)}
            assert plane.lead.put(self.path, json=body, headers={"If-Match": "*"}).status_code == 422

        @invariant()
        def what_is_served_is_what_was_set(self) -> None:
            """The published snapshot compiles, its weights are whole, its slices are its weights."""
            alias = snapshot(plane).aliases.get(self.name)
            if self.now is None:
                assert alias is None
                return
            assert alias is not None
            assert tuple((t.version, t.weight_bp) for t in alias.targets) == self.now
            assert sum(t.weight_bp for t in alias.targets) == WHOLE_BP
            owners = bucket_owners(plane, self.name)
            assert owners == self.past[-1][2]
            assert all(owners.count(version) == weight for version, weight in self.now)

        @invariant()
        def versions_only_rise(self) -> None:
            assert all(old < new for old, new in zip(self.versions, self.versions[1:], strict=False))

        def teardown(self) -> None:
            """History and audit have every change, in order, from what to what."""
            if not self.past:
                return
            found = plane.lead.get(f"{self.path}/history?limit=1000").json()["revisions"]
            kinds = [kind for kind, _, _, _ in self.past]
            states = [each[1] for each in self.past]
            assert [row["kind"] for row in reversed(found)] == kinds
            assert [row["revision"] for row in reversed(found)] == list(range(1, len(self.past) + 1))
            assert [shown(row["to"]) for row in reversed(found)] == states
            assert [shown(row["from"]) for row in reversed(found)] == [None, *states[:-1]]
            audit = plane.admin.get("/api/v1/audit", params={"object": self.name, "limit": 1000}).json()[
                "rows"
            ]
            assert [row["verb"] for row in reversed(audit)] == [f"alias.{kind}" for kind in kinds]
            assert {row["actor"] for row in audit} == {"user:lead"}

    return AliasChanges


def shown(rows: list[dict[str, Any]] | None) -> Weights | None:
    """Targets of the wire as (version, weight)."""
    return None if rows is None else tuple((row["version"], row["weight"]) for row in rows)


def snapshot(plane: Running) -> Snapshot:
    """What a worker would serve from."""
    published = plane.control.publisher.published
    assert published is not None
    return compile_snapshot(decode(published.encoded), decider)


def bucket_owners(plane: Running, name: str) -> Owners:
    """The version that owns each of the 10 000 buckets."""
    alias = snapshot(plane).aliases[name]
    owners: list[int] = []
    for bound, target in zip(alias.bounds, alias.owners, strict=True):
        owners += [target.version] * (bound - len(owners))
    return tuple(owners)


def test_the_promises_hold_after_any_changes(plane: Running) -> None:
    """History complete, audit complete, weights whole, candidates keep their callers, rollback exact, versions rise."""
    run_state_machine_as_test(machine(plane), settings=SETTINGS)
