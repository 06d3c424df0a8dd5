"""What the data-plane workers report about themselves."""
