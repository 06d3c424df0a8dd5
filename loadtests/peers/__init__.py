"""The peers, one module each: how each is configured and started to do the same job."""
