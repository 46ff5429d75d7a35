"""Finds, removes and repairs what was damaged or lost on disk: parts of the point store, the catalog's file."""
