"""Models with their versions, and the pools that serve them."""
