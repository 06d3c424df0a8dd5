"""Aliases: what they send traffic to, how they came there, and the way back."""
