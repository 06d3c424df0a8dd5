"""The text of API keys."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.apikey import PREFIX, KeyText, make_key, parse_key


def test_a_fresh_key_reads_back() -> None:
    """Prefix, id, secret and check are where they belong, and no two keys are the same."""
    keys = [make_key() for _ in range(200)]
    assert len({key.text for key in keys}) == len({key.id for key in keys}) == 200
    for key in keys:
        assert parse_key(key.text) == key
        assert key.text.startswith(f"{PREFIX}{key.id}_")
        assert len(key.text) == 63
        assert key.text.replace("_", "").isalnum()


@given(st.integers(0, 62), st.sampled_from("0aZ_-. é\x00"))
def test_one_wrong_character_is_noticed(place: int, char: str) -> None:
    """The check finds every single mistyped character."""
    text = make_key().text
    wrong = text[:place] + char + text[place + 1 :]
    assert parse_key(wrong) is None or wrong == text


@given(st.text(max_size=80))
def test_other_texts_are_no_keys(text: str) -> None:
    """And raise nothing."""
    assert parse_key(text) is None


def test_the_secret_is_not_shown_by_accident() -> None:
    """A key in a log line or a traceback shows its id alone."""
    key = make_key()
    assert key.text not in repr(key)
    assert repr(key) == f"KeyText(id={key.id!r})"
    assert isinstance(key, KeyText)
