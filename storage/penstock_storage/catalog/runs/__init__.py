"""Runs in the catalog: changes of their fields, files, liveness."""
