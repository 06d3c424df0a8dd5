"""The one read buffer of a worker.

Every read is consumed before the next one can start, so all connections, to callers and to Triton, share it: a large
read costs no memory of its own. Whoever keeps bytes of it beyond the call that brought them copies them.
"""

BYTES = bytearray(1024 * 1024)
"""The buffer itself, to search in."""

LARGE = memoryview(BYTES)
"""For bodies of known length."""

SMALL = LARGE[: 64 * 1024]
"""For heads, small bodies and whatever is framed: what the parser is given at once."""
