"""Snapshots travel whole or not at all; what does not validate never compiles."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dataplane.worker import compile_document
from gateway.kept_file import seal
from gateway.snapshot.document import (
    KeyEntry,
    ModelEntry,
    PolicyEntry,
    PoolEntry,
    Slice,
    SnapshotDocument,
    SnapshotInvalid,
    TargetEntry,
    decode,
    encode,
)
from gateway.snapshot.problems import find_problems
from gateway.snapshot.store import SnapshotStore
from tests.gateway_process import alias_entry, changed, document

GOOD = document("http://127.0.0.1:8000")


def test_a_document_comes_back_as_it_was() -> None:
    """And compiles."""
    assert decode(encode(GOOD)) == GOOD
    assert find_problems(GOOD) == []
    assert compile_document(GOOD).aliases["split"].live.keys() == {1, 2}


def test_a_document_from_before_grpc_still_loads() -> None:
    """What a release did not know yet has a meaning: each endpoint speaks gRPC on the port behind."""
    old = msgspec.to_builtins(GOOD)
    for pool in old["pools"]:
        del pool["grpc_endpoints"]
    assert decode(seal(msgspec.json.encode(old))) == GOOD


@pytest.mark.parametrize(
    "addresses", [("grpc://a:1", "grpc://b:1"), ("http://a:1",), ("grpc://169.254.169.254:80",)]
)
def test_grpc_addresses_are_as_many_as_endpoints_and_as_safe(addresses: tuple[str, ...]) -> None:
    """One for each, in order, none of which is a metadata service."""
    pool = PoolEntry("main", "triton", ("http://127.0.0.1:8000",), addresses)
    assert find_problems(changed(GOOD, pools=(pool,)))
    good = PoolEntry("main", "triton", ("http://127.0.0.1:8000",), ("grpc://127.0.0.1:9",))
    assert find_problems(changed(GOOD, pools=(good,))) == []


@given(st.data())
def test_a_damaged_document_is_refused(data: st.DataObject) -> None:
    """Cut anywhere, or one bit flipped anywhere."""
    whole = encode(GOOD)
    at = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[at] ^= 1 << data.draw(st.integers(0, 7))
    for damaged in (whole[:at], bytes(flipped), whole + b" "):
        with pytest.raises(SnapshotInvalid):
            decode(damaged)


@given(st.binary(max_size=200))
def test_bytes_with_a_good_checksum_are_still_checked(body: bytes) -> None:
    """A checksum says that bytes arrived, not that they are a snapshot."""
    with pytest.raises(SnapshotInvalid):
        decode(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


@pytest.mark.parametrize("opening", [b"[", b'{"x":', b'{"version":1,"created_at":1,"x":' + b"["])
def test_deep_nesting_is_refused(opening: bytes) -> None:
    """As invalid, not with an error that ends the one who reads it."""
    body = opening[:-1] + opening[-1:] * 100_000 if opening.endswith(b"[") else opening * 100_000
    with pytest.raises(SnapshotInvalid):
        decode(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


A = GOOD.aliases[0]


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 0},
        {"version": -1},
        {"version": 2**63},
        {"version": 10**400},
        {"installation": ""},
        {"aliases": GOOD.aliases * 2},
        {"keys": GOOD.keys * 2},
        {"models": GOOD.models * 2},
        {"pools": GOOD.pools * 2},
        {"models": ()},
        {"pools": ()},
        {"aliases": (msgspec.structs.replace(A, name=""),)},
        {"aliases": (msgspec.structs.replace(A, name="a/b"),)},
        {"aliases": (msgspec.structs.replace(A, name="a\n"),)},
        {"aliases": (msgspec.structs.replace(A, team=""),)},
        {"aliases": (msgspec.structs.replace(A, salt=""),)},
        {"aliases": (msgspec.structs.replace(A, salt="zz" * 16),)},
        {"aliases": (msgspec.structs.replace(A, targets=()),)},
        {"aliases": (msgspec.structs.replace(A, slices=()),)},
        {"aliases": (msgspec.structs.replace(A, slices=(Slice(0, 9_999, 0),)),)},
        {"aliases": (msgspec.structs.replace(A, slices=(Slice(0, 10_001, 0),)),)},
        {"aliases": (msgspec.structs.replace(A, slices=(Slice(0, 10_000, 1),)),)},
        {"aliases": (msgspec.structs.replace(A, slices=(Slice(0, 10_000, -1),)),)},
        {"aliases": (msgspec.structs.replace(A, slices=(Slice(0, 5_000, 0), Slice(6_000, 10_000, 0))),)},
        {"aliases": (msgspec.structs.replace(A, targets=(TargetEntry("m", 1, 9_999),)),)},
        {
            "aliases": (
                msgspec.structs.replace(A, targets=(TargetEntry("m", 1, -1), TargetEntry("m", 2, 10_001))),
            )
        },
        {"aliases": (alias_entry("x", ("a", 1, 10_000)),)},
        {"aliases": (alias_entry("x", ("m", 9, 10_000)),)},
        {"aliases": (alias_entry("m", ("m", 1, 10_000), team="other"),)},
        {"aliases": (alias_entry("x", ("m", 1, 5_000), ("m", 1, 5_000)),)},
        {"models": (ModelEntry("m", "vision", "nosuch", (1, 2, 3)),)},
        {"models": (ModelEntry("m", "vision", "main", (0, 1, 2, 3)),)},
        {"models": (ModelEntry("m", "vision", "main", (1, 2, 3, 2**63)),)},
        {"models": (ModelEntry("m", "vision", "main", (1, 1, 2, 3)),)},
        {"pools": (PoolEntry("main", "triton", ()),)},
        {"pools": (PoolEntry("main", "embedded", ("http://x:1",)),)},
        {"pools": (PoolEntry("main", "triton", ("http://169.254.169.254",)),)},
        {"pools": (PoolEntry("main", "triton", ("http://x:1", "http://x:1")),)},
        {"keys": (KeyEntry("", "0" * 32, "app:x"),)},
        {"keys": (KeyEntry("i", "0" * 31, "app:x"),)},
        {"keys": (KeyEntry("i", "0" * 32, ""),)},
        {"keys": (KeyEntry("i", "0" * 32, "role:admin"),)},
        {"keys": (KeyEntry("i", "0" * 32, "app:x"), KeyEntry("j", "0" * 32, "app:y"))},
        {"policy": PolicyEntry(grants=(("app:x", "*", "*", "infer", "Allow"),))},
        {"policy": PolicyEntry(grants=(("", "*", "*", "infer", "allow"),))},
    ],
)
def test_every_fault_keeps_a_document_from_activating(fields: dict[str, Any]) -> None:
    """Blank fields, duplicates, dangling names, sums that are not the whole."""
    with pytest.raises(SnapshotInvalid) as refused:
        compile_document(changed(GOOD, **fields))
    assert refused.value.problems


def test_all_faults_are_found_together() -> None:
    """An operator sees everything that is wrong at once."""
    bad = changed(GOOD, version=0, models=(), keys=GOOD.keys * 2)
    assert len(find_problems(bad)) >= 3


def save(folder: Path, *documents: SnapshotDocument) -> SnapshotStore:
    """A store into which these were saved."""
    store = SnapshotStore(folder)
    for found in documents:
        store.save(encode(found))
    return store


def test_the_store_keeps_the_newest_and_the_one_before(tmp_path: Path) -> None:
    """Newest first; nothing half-written is left lying about."""
    store = save(tmp_path / "deep" / "er", *(changed(GOOD, version=version) for version in (1, 2, 3)))
    versions = [found.version for _, found in store.candidates() if isinstance(found, SnapshotDocument)]
    assert versions == [3, 2]
    assert {path.name for path in (tmp_path / "deep" / "er").iterdir()} == {"snapshot", "snapshot.previous"}
    assert (tmp_path / "deep" / "er" / "snapshot").stat().st_mode & 0o077 == 0


def test_a_crash_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    """The previous one alone is enough; what was being written is ignored."""
    store = save(tmp_path, GOOD, changed(GOOD, version=2))
    (tmp_path / "snapshot").unlink()
    (tmp_path / "snapshot.1.new").write_bytes(b"half")
    assert [found for _, found in store.candidates()] == [GOOD]
    store.save(encode(changed(GOOD, version=3)))
    assert len(store.candidates()) == 2


def test_an_empty_folder_has_no_candidates(tmp_path: Path) -> None:
    """As before the first snapshot."""
    assert SnapshotStore(tmp_path / "nosuch").candidates() == []
