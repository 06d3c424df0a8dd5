"""The HTTP edge: who calls, how bodies are read, how refusals are worded."""
