"""Searching for good parameters: what is tried next, what is stopped early, and who tries it."""
