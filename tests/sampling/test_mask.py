"""Mask rules: what each action leaves, which rule counts, and what no rule lets through."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sampling.mask import Masks
from gateway.snapshot.document import MaskRule
from tests.sampling.calls import (
    KNOWN,
    PSEUDONYMS,
    captured,
    inputs,
    kept,
    numbers,
    outputs,
    reply,
    request,
    tensor,
)
from tests.sampling.personal import ANY

SECRET = "John lives in Springfield"
BODY = request(
    tensor("x", "FP32", [1, 2]),
    tensor("text", "BYTES", [SECRET]),
    id=SECRET,
    parameters={"who": SECRET, "limit": 5, "deep": {"list": [{"c": 1, "d": SECRET}, {"c": 2}]}},
)


def test_without_rules_numbers_stay_and_text_goes() -> None:
    """Free text is off: of a text its length alone is kept, of JSON beside the tensors nothing."""
    row = kept(captured(BODY, reply(tensor("label", "BYTES", [SECRET, "x"]))))
    assert numbers(inputs(row)["x"]) == [1, 2]
    text = inputs(row)["text"]
    assert (text.texts, text.values, text.lengths, text.masked) == (None, None, (len(SECRET),), "text")
    assert outputs(row)["label"].lengths == (len(SECRET), 1)
    assert row.request_json is None
    assert "Springfield" not in str(row)


def test_what_each_action_leaves_of_a_tensor() -> None:
    """Kept, gone, its shape alone, or a digest for each element, the same for the same value."""
    row = kept(captured(BODY), MaskRule("keep", tensor="text"), MaskRule("drop", tensor="x"))
    assert inputs(row)["text"].texts == (SECRET,)
    assert "x" not in inputs(row)
    row = kept(captured(BODY), MaskRule("hash", tensor="text"), MaskRule("redact", tensor="x"))
    assert inputs(row)["text"].texts == (PSEUDONYMS.of(SECRET),)
    assert inputs(row)["text"].masked == "hashed"
    assert (inputs(row)["x"].values, inputs(row)["x"].shape, inputs(row)["x"].masked) == (
        None,
        (2,),
        "redacted",
    )
    row = kept(captured(request(tensor("whole", "INT64", [17, 17, 4]))), MaskRule("hash", tensor="whole"))
    texts = inputs(row)["whole"].texts or ()
    assert texts[0] == texts[1] == PSEUDONYMS.of("17")
    assert texts[2] != texts[0]


def test_a_large_tensor_is_redacted_where_its_hash_is_asked_for() -> None:
    """A digest for each element of a picture would be an archive of digests."""
    row = kept(captured(request(tensor("x", "FP32", [1] * 2_000))), MaskRule("hash", tensor="x"))
    assert (inputs(row)["x"].texts, inputs(row)["x"].masked) == (None, "redacted")


def test_the_rule_on_a_name_goes_before_the_rule_on_all_and_the_one_on_a_part_before_both() -> None:
    """`*` is for those without a rule of their own."""
    rules = (
        MaskRule("drop", tensor="*"),
        MaskRule("keep", tensor="x"),
        MaskRule("redact", tensor="y"),
        MaskRule("keep", tensor="y", part="reply"),
    )
    row = kept(captured(BODY, reply(tensor("y", "FP32", [1]), tensor("label", "BYTES", ["b"]))), *rules)
    assert list(inputs(row)) == ["x"]
    assert numbers(outputs(row)["y"]) == [1]
    assert list(outputs(row)) == ["y"]


def test_a_card_among_numbers_is_none() -> None:
    """Whole numbers of any type that are an issuer's cards become NaN; all others, and times in nanoseconds, stay."""
    values = [4111111111111111, 1_795_500_000_000_000_003, 7, -4111111111111111]
    row = kept(
        captured(request(tensor("whole", "INT64", values), tensor("x", "FP64", [4111111111111111.0, 0.5])))
    )
    found = numbers(inputs(row)["whole"])
    assert math.isnan(found[0])
    assert math.isnan(found[3])
    assert found[1:3] == [1_795_500_000_000_000_003, 7]
    assert inputs(row)["whole"].masked == "found"
    assert math.isnan(numbers(inputs(row)["x"])[0])


def test_paths_reach_into_json() -> None:
    """The longest path decides; `keep` holds below, other actions leave one value, what no path names is gone."""

    def document(*rules: MaskRule) -> object:
        row = kept(captured(BODY), *rules)
        return None if row.request_json is None else json.loads(row.request_json)

    assert document(MaskRule("keep", path="$.parameters.limit")) == {"parameters": {"limit": 5}}
    assert document(MaskRule("keep", path="$.parameters.deep.list[*].c")) == {
        "parameters": {"deep": {"list": [{"c": 1}, {"c": 2}]}}
    }
    assert document(MaskRule("keep", path="$.parameters.deep.list[1]")) == {
        "parameters": {"deep": {"list": [{"c": 2}]}}
    }
    assert document(
        MaskRule("keep", path="$.parameters"),
        MaskRule("drop", path="$.parameters.who"),
        MaskRule("redact", path="$.parameters.deep.list[0]"),
    ) == {"parameters": {"limit": 5, "deep": {"list": ["[redacted]", {"c": 2}]}}}
    assert document(MaskRule("hash", path="$.id")) == {"id": PSEUDONYMS.of(SECRET)}
    assert document(MaskRule("hash", path="$.parameters.deep"), MaskRule("drop", path="$.id")) is not None
    assert document(MaskRule("keep", path="$.id", part="reply")) is None
    assert document(MaskRule("keep", path="$.nowhere")) is None


def test_kept_json_is_searched_names_and_numbers_included() -> None:
    """A phone number as a number, and an address as a member's name."""
    body = request(
        parameters={
            "a@b.example": 1,
            "call": 4155550123,
            "ratio": 4155550.5,
            "odd": float("nan"),
            "small": 999_999,
        }
    )
    row = kept(captured(body), MaskRule("keep", path="$.parameters"))
    assert json.loads(row.request_json or "") == {
        "parameters": {"[email]": 1, "call": "[phone]", "ratio": 4155550.5, "odd": None, "small": 999_999}
    }


def test_a_rule_that_names_no_tensor_is_told() -> None:
    """Only a rule that says so may name what a version does not have; `*` and paths name nothing."""
    rules = (
        MaskRule("drop", tensor="x"),
        MaskRule("drop", tensor="ssn"),
        MaskRule("drop", tensor="y", part="request"),
        MaskRule("drop", tensor="old", optional=True),
        MaskRule("keep", tensor="*"),
        MaskRule("keep", path="$.a"),
    )
    assert Masks(rules, PSEUDONYMS).astray(KNOWN) == ["ssn", "y"]


@given(
    value=ANY,
    where=st.sampled_from(("text", "id", "parameter", "key", "label", "element")),
    dropped=st.booleans(),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_planted_data_is_in_no_row_even_where_text_is_kept(value: str, where: str, dropped: bool) -> None:
    """With every text kept by rule, what is planted in any of them is not in the row."""
    if where == "label":
        call = captured(reply=reply(tensor("label", "BYTES", [f"for {value}"])))
    elif where == "text":
        call = captured(request(tensor("text", "BYTES", ["ok", f"of {value}."])))
    elif where == "element":
        call = captured(request(parameters={"list": ["a", [value]]}))
    else:
        call = captured(
            request(
                **{where: value}
                if where == "id"
                else {"parameters": {value: 1} if where == "key" else {"p": value}}
            )
        )
    rules = [MaskRule("keep", tensor="*"), MaskRule("keep", path="$")]
    if dropped:
        rules += [
            MaskRule("drop", detector=kind)
            for kind in ("email", "phone", "card", "iban", "ip", "national_id")
        ]
    row = kept(call, *rules)
    everything = repr(row) + (row.request_json or "") + (row.reply_json or "")
    assert value not in everything
    assert json.dumps(value)[1:-1] not in everything


@pytest.mark.parametrize("depth", [10, 500, 900])
def test_deep_documents_are_masked_or_left_out(depth: int) -> None:
    """Nesting ends in a reason, never in an error."""
    nested = b'{"parameters":' + b'{"a":' * depth + b"1" + b"}" * depth + b',"inputs":[]}'
    row = kept(captured(nested), MaskRule("keep", path="$.parameters"))
    assert row.request_json is not None or row.inputs_missing == "unreadable"
