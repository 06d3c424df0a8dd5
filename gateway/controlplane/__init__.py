"""Registry, aliases, access, audit and the snapshot: what people change, and how it reaches the data plane."""
