"""Artifacts in the catalog: collections, versions, members, files."""
