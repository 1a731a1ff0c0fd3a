"""Runs methods on tasks: each in a process that sees only what its access level allows, then scores and records."""
