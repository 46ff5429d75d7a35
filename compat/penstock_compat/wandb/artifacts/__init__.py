"""Artifacts: named, versioned collections of files, logged and used by runs."""
