"""Keys and policy: who exists and who may do what."""
