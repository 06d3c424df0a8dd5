"""Personal data that nobody has: valid in form and check digit, in the ways in which people write it."""

from hypothesis import strategies as st

from gateway.sampling import checksums

KNOWN: dict[str, list[str]] = {
    "email": [
        "john.doe@example.org", "o'brien+news@mail.example.co.uk", "jörg@müller.example", "john%40example.org",
        '"john doe"@example.org', "root@[192.0.2.1]",
    ],
    "phone": [
        "+49 170 1234567", "+1 (415) 555-0123", "0049 30 901820", "030 901820-11", "0170/1234567", "(415) 555-0123",
        "415.555.0123", "171.555.8877", "171-555-8877", "4155550123", "1-415-555-0123", "06 12 34 56 78", "+33612345678", "612 345 678", "07700 900123",
    ],
    "card": [
        "4111 1111 1111 1111", "4111111111111111", "5555-5555-5555-4444", "378282246310005", "6011.1111.1111.1117",
        "3530 1113 3330 0000", "2223003122003222",
    ],
    "iban": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "FR14 2004 1010 0505 0001 3M02 606", "NO93 8601 1117 947"],
    "ip": ["192.0.2.1", "255.255.255.255", "2001:db8::1", "fe80::1ff:fe23:4567:890a", "::ffff:192.0.2.128"],
    "national_id": [
        "078-05-1120", "123456789", "86 095 742 719", "AB123456C", "AB 12 34 56 C", "12345678Z", "X1234567L",
        "RSSMRA85T10A562S", "111222333", "529.982.247-25", "2341 2341 2346", "2 55 08 14 168 025 38", "1 84 12 2A 123 456 97",
        "1.84.12.2A.123.456.97", "1-84-12-2a-123-456-97", "2 85 05 2B 006 084 / 12", "2 55 08 14 168 025 clé 38", "285052B006084 12",
        "756.9217.0769.85", "44051401359", "85.07.30-033.28", "811228-9874", "046 454 286",
    ],
}  # fmt: skip
"""Published examples and test numbers by what they are."""

_digit = st.sampled_from("0123456789")


def _digits(count: int) -> st.SearchStrategy[str]:
    return st.text(_digit, min_size=count, max_size=count)


@st.composite
def grouped(draw: st.DrawFn, digits: str, separators: str = " -.", sizes: tuple[int, ...] = (2, 3, 4)) -> str:
    """The digits in groups, with one kind of separator; or all together."""
    size = draw(st.sampled_from((*sizes, len(digits))))
    separator = draw(st.sampled_from(separators))
    return separator.join(digits[at : at + size] for at in range(0, len(digits), size))


@st.composite
def cards(draw: st.DrawFn) -> str:
    """A card number with its check digit, in groups of four or five, or none."""
    body = draw(st.sampled_from("3456")) + draw(_digits(draw(st.integers(11, 17))))
    number = next(body + check for check in "0123456789" if checksums.luhn(body + check))
    return draw(grouped(number, sizes=(4, 5)))


@st.composite
def emails(draw: st.DrawFn) -> str:
    """An address of letters, digits and what else stands in them, in any script."""
    letters = st.characters(categories=("Ll", "Lu", "Nd"), exclude_characters="")
    word = st.text(letters, min_size=1, max_size=10)
    local = ".".join(draw(st.lists(word, min_size=1, max_size=3)))
    domain = ".".join(draw(st.lists(word, min_size=2, max_size=3)))
    return f"{local}{draw(st.sampled_from(('@', '%40')))}{domain}"


@st.composite
def phones(draw: st.DrawFn) -> str:
    """A number in international form, or in a national one with its trunk prefix, in groups."""
    if draw(st.booleans()):
        digits = draw(st.sampled_from("123456789")) + draw(_digits(draw(st.integers(7, 14))))
        return "+" + draw(grouped(digits, separators=" -./"))
    digits = "0" + draw(st.sampled_from("123456789")) + draw(_digits(draw(st.integers(7, 10))))
    return draw(grouped(digits, separators=" -/"))


@st.composite
def ssns(draw: st.DrawFn) -> str:
    """A US social security number."""
    area = draw(st.integers(1, 899).filter(lambda number: number != 666))
    number = f"{area:03}{draw(st.integers(1, 99)):02}{draw(st.integers(1, 9999)):04}"
    return draw(
        st.sampled_from(
            (number, f"{number[:3]}-{number[3:5]}-{number[5:]}", f"{number[:3]} {number[3:5]} {number[5:]}")
        )
    )


@st.composite
def german_ids(draw: st.DrawFn) -> str:
    """A German tax number: of its first ten digits one comes twice, and one does not come."""
    order = draw(st.permutations("0123456789"))
    body = list(order[:9])
    body.insert(draw(st.integers(1, 9)), body[draw(st.integers(0, 8))])
    number = "".join(body) if body[0] != "0" else "".join(reversed(body))
    found = [number + check for check in "0123456789" if checksums.german_tax_id(number + check)]
    return draw(grouped(found[0], separators=" ", sizes=(3,))) if found else "86095742719"


@st.composite
def ibans(draw: st.DrawFn) -> str:
    """A German or British account number with its check digits."""
    country, body = draw(
        st.sampled_from((("DE", 18), ("GB", 18), ("NL", 14))).flatmap(
            lambda kind: st.tuples(st.just(kind[0]), _digits(kind[1]))
        )
    )
    body = body if country == "DE" else "ABCD" + body[4:]
    rest = int("".join(str(int(char, 36)) for char in f"{body}{country}00")) % 97
    iban = f"{country}{98 - rest:02}{body}"
    spaced = " ".join(iban[at : at + 4] for at in range(0, len(iban), 4))
    return draw(st.sampled_from((iban, spaced, iban.lower())))


# `::` is the address of nobody, and what programmers write between names.
ips = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).filter(lambda ip: int(ip) > 0).map(str)

ANY = st.one_of(
    cards(), emails(), phones(), ssns(), german_ids(), ibans(), ips,
    st.sampled_from([value for values in KNOWN.values() for value in values]),
)  # fmt: skip
