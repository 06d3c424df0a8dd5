"""Pure functions on numbers that somebody else has gathered; no I/O."""
