"""How many calls of a model version may be in flight at once, and whose turn it is when that is not enough."""
