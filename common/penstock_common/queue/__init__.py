"""Redis: connection, keys, scripts, and what processes tell each other through it."""
