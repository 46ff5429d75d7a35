"""Sweeps in the catalog, and how trials are handed out."""
