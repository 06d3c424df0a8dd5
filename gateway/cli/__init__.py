"""Verbs over the control plane's API, and those that run on this machine: demo, init, serve, doctor, triton."""
