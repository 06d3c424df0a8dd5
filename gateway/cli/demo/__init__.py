"""`maas demo`: the whole gateway on loopback, and a story told with real requests."""
