"""The catalog's schema, revision by revision (Alembic), for SQLite and PostgreSQL alike.

Servers of versions N and N-1 share one catalog while a cluster is upgraded, so a revision only
*expands*: it adds tables, and columns with a server default that N-1's INSERTs rely on. Parts that are
no longer needed are *contracted* one version later, when no N-1 that needs them can run. `RUNS_WITH`
lists the earlier revisions whose code still works with the head's schema; such code starts on the newer
schema and leaves it unchanged, any other refuses to start.

A revision defines its tables itself: importing `tables` would change history with every edit there. On
SQLite, never use batch mode for a table that assigns numbers: its copy loses AUTOINCREMENT, and numbers
would be assigned twice. Each revision can be reverted (`downgrade`).
"""

__all__ = ["HEAD", "RUNS_WITH"]

HEAD = "0010"
"""The newest revision."""

RUNS_WITH = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0009")
