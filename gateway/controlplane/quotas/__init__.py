"""Quota policies: how much a caller may have."""
