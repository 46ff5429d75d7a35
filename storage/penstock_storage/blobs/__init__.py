"""Blobs: large contents under their hash, and how they are uploaded."""
