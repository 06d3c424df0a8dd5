"""Check digits: published examples pass, one digit more or less does not."""

import pytest

from gateway.sampling import checksums

VALID = [
    (checksums.luhn, "79927398713"),
    (checksums.card, "4111111111111111"),
    (checksums.card, "378282246310005"),
    (checksums.issued_card, "2223003122003222"),
    (checksums.iban, "DE89370400440532013000"),
    (checksums.iban, "GB82WEST12345698765432"),
    (checksums.ssn, "078051120"),
    (checksums.german_tax_id, "86095742719"),
    (checksums.german_tax_id, "47036892816"),
    (checksums.french_nir, "255081416802538"),
    (checksums.spanish_id, "12345678Z"),
    (checksums.spanish_id, "X1234567L"),
    (checksums.italian_code, "RSSMRA85T10A562S"),
    (checksums.dutch_bsn, "111222333"),
    (checksums.brazilian_cpf, "52998224725"),
    (checksums.verhoeff, "2363"),
    (checksums.verhoeff, "234123412346"),
    (checksums.polish_pesel, "44051401359"),
    (checksums.swiss_ahv, "7569217076985"),
    (checksums.belgian_number, "85073003328"),
    (checksums.swedish_number, "8112289874"),
]


@pytest.mark.parametrize(("holds", "number"), VALID)
def test_published_examples_hold(holds, number) -> None:  # type: ignore[no-untyped-def]
    """The examples that the rules' own publishers give."""
    assert holds(number)


@pytest.mark.parametrize(("holds", "number"), [each for each in VALID if each[0] is not checksums.ssn])
def test_another_last_character_does_not_hold(holds, number) -> None:  # type: ignore[no-untyped-def]
    """A wrong check digit is seen: of all digits in its place, one alone passes (an SSN has none)."""
    alphabet = "0123456789" if number[-1].isdecimal() else "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    passing = [char for char in alphabet if holds(number[:-1] + char)]
    assert passing == [number[-1]] or (holds is checksums.belgian_number and len(passing) <= 2)


@pytest.mark.parametrize("number", ["000123456", "666123456", "912345678", "123004567", "123450000"])
def test_numbers_that_are_never_given_out_are_no_social_security_numbers(number: str) -> None:
    """Areas 000, 666 and 9xx, group 00 and serial 0000 do not exist."""
    assert not checksums.ssn(number)


def test_plain_numbers_are_cards_only_of_an_issuer() -> None:
    """A time in nanoseconds, or a number of sixteen digits from 1 on, is no card even where the sum fits by chance."""
    fits = next(
        number
        for number in range(1_700_000_000_000_000_000, 1_700_000_000_000_000_010)
        if checksums.luhn(str(number))
    )
    assert not checksums.issued_card(str(fits))
    assert checksums.card(str(fits))
