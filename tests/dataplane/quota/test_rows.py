"""Batch rows, read from the beginning of an inference's JSON."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.dataplane.quota.rows import Twice, rows_by_parsing, rows_of


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (b'{"inputs":[{"name":"x","shape":[7,64],"datatype":"FP32","data":[1,2]}]}', 7),
        (b'{ "inputs" : [ { "shape" : [ 12 ] } ] }', 12),
        (b'{"inputs":[{"shape":[3,2]},{"shape":[9,2]}]}', 3),
        (b'{"inputs":[{"data":[[1,2],[3,"]}"]],"shape":[2,2]}]}', 2),
        (b'{"inputs":[{"parameters":{"shape":[1]},"shape":[5]}]}', 5),
        (b'{"parameters":{"inputs":[{"shape":[1]}]},"inputs":[{"shape":[5]}]}', 5),
        (b'{"id":"\\"inputs\\":[{\\"shape\\":[1]}]","inputs":[{"shape":[5]}]}', 5),
        (b'{"id":"inputs" ,"x":[{"shape":[1]}],"inputs":[{"shape":[5]}]}', 5),
        (b'{"inputs":[{"shape":[5],"data":[{"shape":[1]}]},{"shape":[9]}]}', 5),
        (b'{"inputs":[{"shape":[0,4]}]}', 1),
        (b'{"inputs":[{"name":"x","shape":[4,3],"data":[0.1,0.2,0.', 4),
    ],
)
def test_the_first_dimension_of_the_first_input_is_read(text: bytes, rows: int) -> None:
    """Wherever it stands, whatever looks like it, and before the rest has arrived."""
    assert rows_of(text) == rows


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'{"inputs":[]}',
        b'{"inputs":[{"name":"x"}],"outputs":[{"shape":[3]}]}',
        b'{"inputs":[{"shape":[]}]}',
        b'{"inputs":[{"shape":[1',
        b'{"inputs":[{"shape":"7"}]}',
        b'{"inputs":[{"shape":[-3]}]}',
        b'{"inputs":[{"sh',
        b'{"inputs":[{"data":[' + b"[]," * 5_000 + b'],"shape":[2]}]}',
        b'{"inputs":[{"shape":[5]}],"inputs":[{"shape":[1]}]}',
        b'{"inputs":[{"shape":[5],"shape":[1]}',
        b"\xff\xfe{}",
        b"[" * 100_000,
    ],
)
def test_what_is_not_there_is_not_guessed(text: bytes) -> None:
    """Nothing, another thing, or too far behind."""
    assert rows_of(text) is None


names = st.sampled_from(["inputs", "shape", "id", "data"])
values = st.recursive(
    st.one_of(
        st.none(),
        st.integers(0, 9),
        st.text('{["\\:,]}x', max_size=5),
        st.sampled_from(["inputs", "shape", '"']),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(names, values, max_size=4), st.integers(0, 400))
def test_any_json_is_read_as_a_parser_reads_it(document: dict[str, object], cut: int) -> None:
    """The same number as from the decoded document; of a text that is cut short the same or none."""
    text = json.dumps(document).encode()
    expected: int | None = None
    inputs = document.get("inputs")
    if isinstance(inputs, list) and inputs and isinstance(inputs[0], dict):
        shape = inputs[0].get("shape")
        if isinstance(shape, list) and shape and isinstance(shape[0], int):
            expected = max(1, shape[0])
    assert (rows_of(text) or rows_by_parsing(text)) == expected
    assert rows_of(text) in (None, expected)
    assert rows_of(text[:cut]) in (None, expected)


@pytest.mark.parametrize(
    "text",
    [
        b'{"inputs":[{"sh\\u0061pe":[8,2]}]}',
        b'{"input\\u0073":[{"shape":[8,2]}]}',
        b'{"inputs":[{"data":[' + b"[]," * 5_000 + b'[]],"shape":[8]}]}',
        b'{"parameters":{'
        + b",".join(b'"p%d":[]' % n for n in range(1_500))
        + b'},"inputs":[{"shape":[8]}]}',
    ],
)
def test_rows_cannot_be_hidden(text: bytes) -> None:
    """Escapes in keys and much in front are read as Triton reads them."""
    assert (rows_of(text) or rows_by_parsing(text)) == 8


@pytest.mark.parametrize(
    ("text", "twin"),
    [
        (b'{"inputs":[{"shape":[8],"shape":[1]}]}', "shape"),
        (b'{"inputs":[{"sh\\u0061pe":[8],"shape":[1]}]}', "shape"),
        (b'{"inputs":[{"shape":[8],"data":[[1],[2]],"shape" : [8]},{"shape":[1]}]}', "shape"),
        (b'{"inputs":[{"shape":[8]}],"inputs":[{"shape":[1]}]}', "inputs"),
    ],
)
def test_keys_that_stand_twice_are_refused(text: bytes, twin: str) -> None:
    """Even where both say the same."""
    assert rows_of(text) is None
    with pytest.raises(Twice, match=twin):
        rows_by_parsing(text)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_a_fault(text: bytes) -> None:
    """Never another failure than finding nothing."""
    assert (rows_of(text) or 1) >= 1
