"""Tasks, scores with intervals, records, leaderboards, and the `gengap` command."""
