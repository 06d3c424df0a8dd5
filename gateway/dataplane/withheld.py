"""Fields of a request that never go on to a model's server, whatever the protocol: those by which a caller could pretend to be
a proxy or the gateway, and cookies. Names in lower case.
"""

WITHHELD_PREFIXES = (b"maas-", b"maas_", b"x-maas-", b"x-forwarded-", b"tenant", b"x-tenant", b"x-envoy-")

WITHHELD = frozenset({b"proxy-authorization", b"cookie", b"forwarded", b"via", b"x-real-ip"})
