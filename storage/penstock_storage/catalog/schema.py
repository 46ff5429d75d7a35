"""Brings a catalog's schema up to date; `penstock_storage.catalog.migrations` has the rules."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from penstock.errors import Broken
from penstock_storage.catalog.migrations import HEAD, RUNS_WITH
from penstock_storage.catalog.revision import SCHEMA_VERSION, stored_text
from penstock_storage.catalog.tables import meta, metadata

__all__ = ["downgrade", "upgrade"]

_FOLDER = Path(__file__).parent / "migrations"
_FIRST = "0001"
_RUNS_WITH = "runs_with"


def upgrade(connection: Connection) -> None:
    """Create the tables, or upgrade them to `HEAD`, inside the caller's transaction, which must keep other
    processes from doing the same.

    Raises `Broken`, and changes nothing, if newer code has made them incompatible.
    """
    found = _revision(connection)
    if inspect(connection).has_table(meta.name):
        _refuse_newer(connection, found)
        if found is None:
            found = HEAD if _has_every_column(connection) else _FIRST
            command.stamp(_config(connection), found)
    if found == HEAD or (found is not None and not _is_known(found)):
        return
    command.upgrade(_config(connection), "head")
    _say(connection, _RUNS_WITH, ",".join(RUNS_WITH))


def downgrade(connection: Connection, revision: str) -> None:
    """Revert every revision after this one, with the data stored in them."""
    command.downgrade(_config(connection), revision)


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _has_every_column(connection: Connection) -> bool:
    """Whether the tables are current although their revision is unknown: a damaged catalog may have lost
    just that."""
    inspector = inspect(connection)
    return all(
        inspector.has_table(table.name)
        and {column.name for column in table.columns}
        <= {column["name"] for column in inspector.get_columns(table.name)}
        for table in metadata.tables.values()
    )


def _is_known(revision: str) -> bool:
    return any(each.revision == revision for each in ScriptDirectory(str(_FOLDER)).walk_revisions())


def _refuse_newer(connection: Connection, revision: str | None) -> None:
    version = stored_text(connection, "schema_version") or "0"
    if int(version) > SCHEMA_VERSION:
        newer = f"version {version}"
    elif revision is not None and not _is_known(revision):
        if HEAD in (stored_text(connection, _RUNS_WITH) or "").split(","):
            return
        newer = f"revision {revision}"
    else:
        return
    raise Broken(
        f"the catalog has schema {newer}, this Penstock knows up to {HEAD}: use the newer Penstock"
        " that wrote it"
    )


def _say(connection: Connection, name: str, value: str) -> None:
    connection.execute(meta.delete().where(meta.c.name == name))
    connection.execute(meta.insert().values(name=name, value=value))
