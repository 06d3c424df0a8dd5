"""A model's artefacts: their files and digests, what is recorded of them, and how their signatures compare. No network, no database."""
