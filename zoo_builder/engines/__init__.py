"""Compute engines: stacks in PyTorch, compiled code for the CPU, and the choice between them."""
