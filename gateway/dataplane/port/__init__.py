"""A worker's ports, whatever is spoken there: who takes the next connection, who is connected, and how a port is closed."""
