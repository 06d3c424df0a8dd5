"""What answers inference: pools of Triton servers over HTTP, or the embedded engine."""
