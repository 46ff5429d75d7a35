"""Finds, removes and repairs parts of the point store that were damaged or lost on disk."""
