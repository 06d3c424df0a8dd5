"""Benchmarks of the gateway beside its peers, and of its parts at scale."""
