"""Check digits of numbers that name a person, a card or an account. Each function takes digits (and letters) alone.

A number that passes by chance is masked too: that costs a sample a number, the other way round costs a person.
"""

# ISO/IEC 7812-1 annex B: doubling a digit and adding up what comes out of it.
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)

# ISO 7064 section 6 letters count from 10 on; the DNI's letters are in the order of Real Decreto 1553/2005.
_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"

# Decreto ministeriale 23 dicembre 1976: what a character counts in an odd place; in an even one it counts its number.
_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16,
         10, 22, 25, 24, 23),
        strict=True,
    )
)  # fmt: skip

# Verhoeff, "Error Detecting Decimal Codes" (1969): the dihedral group D5 and a permutation of order 8.
_D5 = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    (1, 2, 3, 4, 0, 6, 7, 8, 9, 5),
    (2, 3, 4, 0, 1, 7, 8, 9, 5, 6),
    (3, 4, 0, 1, 2, 8, 9, 5, 6, 7),
    (4, 0, 1, 2, 3, 9, 5, 6, 7, 8),
    (5, 9, 8, 7, 6, 0, 4, 3, 2, 1),
    (6, 5, 9, 8, 7, 1, 0, 4, 3, 2),
    (7, 6, 5, 9, 8, 2, 1, 0, 4, 3),
    (8, 7, 6, 5, 9, 3, 2, 1, 0, 4),
    (9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
)
_PERMUTED = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    (1, 5, 7, 6, 2, 8, 3, 0, 9, 4),
    (5, 8, 0, 3, 7, 9, 6, 1, 4, 2),
    (8, 9, 1, 6, 0, 4, 3, 5, 2, 7),
    (9, 4, 5, 3, 1, 2, 6, 8, 7, 0),
    (4, 2, 8, 6, 5, 7, 3, 9, 0, 1),
    (2, 7, 9, 3, 8, 0, 6, 4, 1, 5),
    (7, 0, 4, 6, 9, 1, 3, 2, 5, 8),
)


def luhn(digits: str) -> bool:
    """Luhn's sum: payment cards (ISO/IEC 7812-1 annex B), also Sweden's and Canada's numbers."""
    total = sum(map(int, digits[-1::-2])) + sum(_DOUBLED[int(digit)] for digit in digits[-2::-2])
    return total % 10 == 0


def card(digits: str) -> bool:
    """A payment card: 12 to 19 digits (ISO/IEC 7812-1), not all the same, with Luhn's sum."""
    return 12 <= len(digits) <= 19 and len(set(digits)) > 1 and luhn(digits)


def issued_card(digits: str) -> bool:
    """A card by an issuer's range too (first digit 3 to 6, or Mastercard's 2221 to 2720), 15 to 19 digits.

    For plain numbers, of which many have so many digits and few are cards: a time in nanoseconds begins with 1.
    """
    issuer = digits[:1] in "3456" or 2221 <= int(digits[:4] or 0) <= 2720
    return 15 <= len(digits) <= 19 and issuer and card(digits)


def iban(text: str) -> bool:
    """An IBAN without spaces, in capitals (ISO 13616-1): behind the first four moved to the end, modulo 97 is 1."""
    if not 15 <= len(text) <= 34 or not text.isalnum() or not text.isascii():
        return False
    return int("".join(str(int(char, 36)) for char in text[4:] + text[:4])) % 97 == 1


def ssn(digits: str) -> bool:
    """A number that the US Social Security Administration may have given out (20 CFR 422.103, SSA POMS RM 10201.035)."""
    return (
        digits[:3] not in ("000", "666") and digits[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"
    )


def german_tax_id(digits: str) -> bool:
    """The German tax number of a person (§ 139b AO): ISO 7064 MOD 11,10, and its rule on repeated digits.

    Among the first ten digits one comes twice or three times, the others at most once.
    """
    if digits[0] == "0":
        return False
    counts = sorted((digits[:10].count(digit) for digit in set(digits[:10])), reverse=True)
    if counts[0] not in (2, 3) or counts[1] > 1:
        return False
    product = 10
    for digit in digits[:10]:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def french_nir(text: str) -> bool:
    """A French INSEE number with its key: 97 less the number modulo 97 (INSEE; Corsica's 2A and 2B count 19 and 18)."""
    number = text[:13].replace("2A", "19").replace("2B", "18")
    return number.isdecimal() and 97 - int(number) % 97 == int(text[13:])


def spanish_id(text: str) -> bool:
    """A Spanish DNI or NIE: the number modulo 23 gives its letter (Real Decreto 1553/2005; X, Y, Z count 0, 1, 2)."""
    number = {"X": "0", "Y": "1", "Z": "2"}.get(text[0], text[0]) + text[1:-1]
    return _DNI_LETTERS[int(number) % 23] == text[-1]


def italian_code(text: str) -> bool:
    """An Italian codice fiscale: 15 characters and the one that their sum gives (D.M. 23 December 1976)."""
    odd = sum(_ODD[char] for char in text[:15:2])
    even = sum(int(char) if char.isdecimal() else ord(char) - 65 for char in text[1:15:2])
    return chr(65 + (odd + even) % 26) == text[15]


def dutch_bsn(digits: str) -> bool:
    """A Dutch BSN: weights 9 to 2 and -1 add up to a multiple of 11 (the *elfproef*)."""
    total = sum(
        weight * int(digit) for weight, digit in zip((9, 8, 7, 6, 5, 4, 3, 2, -1), digits, strict=True)
    )
    return total % 11 == 0 and int(digits) > 0


def brazilian_cpf(digits: str) -> bool:
    """A Brazilian CPF: two check digits by weights modulo 11 (Receita Federal)."""
    if len(set(digits)) == 1:
        return False
    for length in (9, 10):
        total = sum(int(digit) * (length + 1 - place) for place, digit in enumerate(digits[:length]))
        if total * 10 % 11 % 10 != int(digits[length]):
            return False
    return True


def verhoeff(digits: str) -> bool:
    """Verhoeff's check, of India's Aadhaar (UIDAI)."""
    state = 0
    for place, digit in enumerate(reversed(digits)):
        state = _D5[state][_PERMUTED[place % 8][int(digit)]]
    return state == 0


def polish_pesel(digits: str) -> bool:
    """A Polish PESEL: weights 1, 3, 7, 9 (ustawa o ewidencji ludności)."""
    total = sum(
        weight * int(digit) for weight, digit in zip((1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), digits, strict=True)
    )
    return total % 10 == 0


def swiss_ahv(digits: str) -> bool:
    """A Swiss AHV number: 756 first, an EAN-13 check digit last (RS 831.101)."""
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits))
    return digits.startswith("756") and total % 10 == 0


def belgian_number(digits: str) -> bool:
    """A Belgian national number: 97 less the first nine modulo 97, those born from 2000 on with a 2 before it."""
    key = int(digits[9:])
    return key in (97 - int(digits[:9]) % 97, 97 - int("2" + digits[:9]) % 97)


def swedish_number(digits: str) -> bool:
    """A Swedish personnummer: its last ten digits with Luhn's sum, and a month and a day among them (Skatteverket)."""
    short = digits[-10:]
    day = int(short[4:6]) % 60
    return 1 <= int(short[2:4]) <= 12 and 1 <= day <= 31 and luhn(short)
