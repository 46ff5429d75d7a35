"""From rows to the store and back to the queue: commits, dead letters, liveness of runs."""
