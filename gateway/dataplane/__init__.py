"""The data plane: the way of a request, one module a step (`pipeline`), and one a transport."""
