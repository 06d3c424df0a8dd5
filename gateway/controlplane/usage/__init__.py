"""Who called what, by day."""
