"""The JSON of a request of a sequence: what Triton would read is what is read, and all but the id goes on as it was."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dataplane.http.inspect import may_name_sequence, names_sequence
from gateway.dataplane.sequences.asked import MOST_CHARS, Asked, asked_of
from gateway.dataplane.sequences.json_request import JsonRequest, Unreadable, own_id_text
from gateway.dataplane.sequences.names import name_of
from gateway.errors import GatewayError, Kind

VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), st.text()
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)
IDS = st.one_of(st.integers(1, 2**64 - 1), st.text(min_size=1, max_size=MOST_CHARS))
FLAGS = st.dictionaries(st.sampled_from(["sequence_start", "sequence_end"]), st.booleans())


def spelled(value: Any, ascii_only: bool) -> bytes:
    return json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


@given(
    st.dictionaries(st.text(), VALUES, max_size=4),
    st.dictionaries(st.text(), VALUES, max_size=4),
    IDS,
    FLAGS,
    st.booleans(),
)
def test_all_but_the_id_goes_on_as_it_was(
    top: dict[str, Any], more: dict[str, Any], name: int | str, flags: dict[str, bool], ascii_only: bool
) -> None:
    """In its order, and whatever else stands there."""
    document = top | {"parameters": more | {"sequence_id": name} | flags}
    text = spelled(document, ascii_only)
    assert may_name_sequence(text)
    assert names_sequence(text)
    try:
        request = JsonRequest(text)
    except Unreadable:
        # Half a surrogate pair.
        assert "\\ud" in text.decode("utf-8", "surrogatepass").lower() or not text.isascii()
        return
    assert request.asked == Asked(name, flags.get("sequence_start", False), flags.get("sequence_end", False))
    written = json.loads(request.with_id(2**63 - 1))
    assert written["parameters"].pop("sequence_id") == 2**63 - 1
    del document["parameters"]["sequence_id"]
    assert written == document
    assert list(written) == list(document)


@given(IDS)
def test_an_id_is_spelled_as_json(name: int | str) -> None:
    """What a caller reads in a reply is what it sent."""
    if isinstance(name, str):
        name = name.encode("utf-8", "ignore").decode()
    assert json.loads(own_id_text(Asked(name))) == name


@pytest.mark.parametrize(
    "text",
    [
        b'{"parameters":{"sequence_id":1},"parameters":{"sequence_id":2}}',
        b'{"parameters":{"sequence_id":1},"par\\u0061meters":{}}',
        b'{"par\\u0061meters":{},"parameters":{"sequence_id":1}}',
        b'{"parameters":{"sequence_id":1,"sequence_id":2}}',
        b'{"parameters":{"sequence_id":1,"sequence\\u005Fid":2}}',
        b'{"parameters":{"sequence_id":1,"x":1,"x":2}}',
        b'{"parameters":{"sequence_id":1,"x":"' + b"a" * 70_000 + b'"}}',
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(text: bytes) -> None:
    """Triton takes the first of two keys, others the last; and nobody needs so many parameters."""
    with pytest.raises(GatewayError) as refused:
        JsonRequest(text)
    assert refused.value.kind is Kind.BAD_REQUEST


@pytest.mark.parametrize(
    "text",
    [
        b'{"inputs":[{"name":"parameters","parameters":{"sequence_id":3}}]}',
        b'{"parameters":{"sequence_start":true},"inputs":["sequence_id"]}',
        b'{"inputs":[{"name":"sequence_id","parameters":{}}],"parameters":{"x":"\\u0041"}}',
        b'{"parameters":["sequence_id"]}',
        b'{"parameters":null,"x":"sequence_id"}',
        b'{"parameters":{"sequence_id":0}}',
        b'{"parameters":{"sequence_id":""}}',
        b'{"parameters":{"sequence_start":true}}',
    ],
)
def test_what_names_no_sequence_is_left_alone(text: bytes) -> None:
    """A name elsewhere is no parameter, and 0 and "" are the protocol's own words for no sequence."""
    assert may_name_sequence(text)
    assert JsonRequest(text).asked is None


@pytest.mark.parametrize(
    ("spelled", "what"),
    [
        (b"1.0", "a number with a fraction"),
        (b"1e3", "a number with a fraction or an exponent"),
        (b"true", "a boolean"),
        (b"null", "null"),
        (b"-1", "a number below 0"),
        (b"18446744073709551616", "a larger number"),
        (b"[1]", "a list"),
        (b'{"id":1}', "an object"),
        (b'"%b"' % (b"a" * (MOST_CHARS + 1)), f"a text of {MOST_CHARS + 1}"),
    ],
)
def test_what_is_no_id_is_refused_and_said(spelled: bytes, what: str) -> None:
    """Triton would call some of it a fault of its own; whoever made the request reads what is wrong with it."""
    text = b'{"parameters":{"sequence_id":%b,"sequence_start":true}}' % spelled
    with pytest.raises(
        GatewayError, match="must be a whole number from 1 to 18446744073709551615"
    ) as refused:
        JsonRequest(text)
    assert refused.value.kind is Kind.BAD_REQUEST
    assert what in refused.value.detail


@pytest.mark.parametrize("name", [b'"sequence_id":1,', b""])
@pytest.mark.parametrize("flag", ["sequence_start", "sequence_end"])
@pytest.mark.parametrize("spelled", [b"1", b"0", b'"true"', b"null", b"[]"])
def test_a_flag_that_is_no_boolean_is_refused_and_said(spelled: bytes, flag: str, name: bytes) -> None:
    """Also where it stands alone: no sequence is what it would be a flag of, and Triton would call it a fault of its own."""
    text = b'{"parameters":{%b"%b":%b}}' % (name, flag.encode(), spelled)
    assert may_name_sequence(text)
    with pytest.raises(GatewayError, match=f"'{flag}' must be true or false, and not ") as refused:
        JsonRequest(text)
    assert refused.value.kind is Kind.BAD_REQUEST


def test_a_tensor_may_have_a_name_that_begins_so() -> None:
    """Its request is not read for that."""
    assert not may_name_sequence(b'{"inputs":[{"name":"sequence_lengths"},{"name":"sequence_start_at"}]}')


def test_the_longest_text_is_an_id() -> None:
    """As is the largest number."""
    assert asked_of("é" * MOST_CHARS) == Asked("é" * MOST_CHARS)
    assert asked_of(2**64 - 1) == Asked(2**64 - 1)


@pytest.mark.parametrize(
    "text", [b"", b"[1]", b'{"x":NaN}', b'{"a":1}\0', b'{"\xff":1}', b"[" * 100_000, b'{"parameters":{']
)
def test_what_is_no_json_here_is_said_to_be_unreadable(text: bytes) -> None:
    """Whoever calls asks then whether it names a sequence."""
    with pytest.raises(Unreadable):
        JsonRequest(text)


def test_flags_are_kept() -> None:
    """And what is not there is no sequence."""
    assert asked_of(5) == Asked(5)
    assert asked_of("5", True, True) == Asked("5", True, True)
    assert asked_of(None) is None


def test_names_differ_where_anything_differs() -> None:
    """The principal, the alias, the version and the id, and a number from the text that looks like it; and nothing else does."""
    secret, other = b"s" * 32, b"o" * 32
    names = [
        name_of(secret, "app:a", "alias", None, Asked(5)),
        name_of(secret, "app:b", "alias", None, Asked(5)),
        name_of(secret, "app:a", "alias2", None, Asked(5)),
        name_of(secret, "app:a", "alias", 1, Asked(5)),
        name_of(secret, "app:a", "alias", None, Asked(6)),
        name_of(secret, "app:a", "alias", None, Asked("5")),
        name_of(other, "app:a", "alias", None, Asked(5)),
    ]
    assert len({name.key for name in names}) == len({name.upstream_id for name in names}) == 7
    assert all(0 < name.upstream_id < 2**63 for name in names)
    assert len({name.tenant for name in names}) == 3
    assert names[0] == name_of(secret, "app:a", "alias", None, Asked(5, start=True, end=True))
