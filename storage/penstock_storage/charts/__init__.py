"""Charts: which tier to read for a window, and what buckets of it become."""
