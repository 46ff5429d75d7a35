"""Users, projects, runs and keys in a SQL database: SQLite embedded, PostgreSQL distributed."""

from penstock_storage.catalog.sql import SqlCatalog

__all__ = ["SqlCatalog"]
