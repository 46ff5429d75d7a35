"""Backup and restore: the archive's format and what goes into it."""
