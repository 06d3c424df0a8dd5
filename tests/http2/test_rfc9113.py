"""RFC 9113 and RFC 7541, section by section, against a small server: each case has the outcome that the RFC asks for, and a connection
beside it goes on.
"""

import pytest

from tests.http2.case import Case, check
from tests.http2.conftest import Running
from tests.http2.sections.compression import COMPRESSION
from tests.http2.sections.frames import FRAMES
from tests.http2.sections.framing import FRAMING
from tests.http2.sections.messages import MESSAGES
from tests.http2.sections.streams import STREAMS

CASES = FRAMING + STREAMS + FRAMES + MESSAGES + COMPRESSION


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, server: Running) -> None:
    """It is seen on the wire as it should be."""
    check(case, server.address)


def test_cases_have_names_of_their_own() -> None:
    """So that one can be run by itself."""
    assert len({str(case) for case in CASES}) == len(CASES)
