"""Networks as methods read them: without norms."""
