"""The catalog's schema, revision by revision (Alembic), for SQLite and PostgreSQL alike.

Servers of version N and N-1 work on one catalog while a cluster is upgraded, so a revision only
*expands*: tables and columns are added, columns with a server default that N-1's INSERTs leave to
it. What nobody needs any more is *contracted* one version later, when no N-1 that needs it can run.
`RUNS_WITH` names the earlier revisions whose code still reads and writes what the head has become;
such code starts on the newer schema and leaves it alone, any other refuses to.

A revision states its tables itself: importing `tables` would change history with every edit there.
On SQLite, never use batch mode for a table that hands out numbers: the copy that it makes forgets
AUTOINCREMENT, and numbers would be handed out twice. Each revision can be taken back (`downgrade`).
"""

__all__ = ["RUNS_WITH"]

RUNS_WITH = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
