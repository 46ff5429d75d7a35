"""Users, projects, runs and keys in a SQL database: SQLite embedded, PostgreSQL distributed."""

# Tables of the schema, whoever opens it: copies and migrations are of all of them.
from penstock_storage.catalog.artifacts import artifact_tables  # noqa: F401
from penstock_storage.catalog.runs import (
    line_streams,  # noqa: F401
    run_files,  # noqa: F401
)
from penstock_storage.catalog.sql import SqlCatalog
from penstock_storage.catalog.sweeps.sweep_catalog import Sweeps

__all__ = ["SqlCatalog", "Sweeps"]
