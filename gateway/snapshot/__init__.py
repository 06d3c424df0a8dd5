"""The snapshot: document, compilation, its copy on disk, and how a worker follows it."""
