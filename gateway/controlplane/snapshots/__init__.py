"""The snapshot: built from the database, published, handed to the workers."""
