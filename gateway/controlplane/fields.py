"""Fields that several features take, with their limits."""

from typing import Annotated

import msgspec

# `$` also matches before a line break at the end, so where none may stand, nothing at all may follow.
Reason = Annotated[
    str,
    msgspec.Meta(
        max_length=1000,
        pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$",
        description="Why, for the history and the audit; one or more lines of text.",
    ),
]
"""PostgreSQL keeps no NUL, and a terminal that shows a history should not be steered by one."""

Note = Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*(?![\s\S])")]

Digest = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^sha256:[0-9a-f]{64}(?![\s\S])",
        description="The artefact's SHA-256, as sha256: and 64 hexadecimal digits.",
    ),
]

MOST_TARGETS = 32
"""More than any release needs; the work of moving slices grows with it."""
