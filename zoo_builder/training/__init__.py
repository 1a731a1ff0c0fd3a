"""Training of stacks with any engine: settings, initial weights, state, loop and results."""
