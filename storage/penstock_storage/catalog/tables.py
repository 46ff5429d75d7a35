"""The catalog's tables as this code uses them; `penstock_storage.catalog.migrations` creates them.

Numbers are assigned in ascending order and never reused. `tick` counts the changes of a project's runs:
a run has the tick of its last change, written under a lock on its project, so that a reader that sees a
tick sees every change with a lower one.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)

from penstock.wire.run_fields import RUN_FIELDS, STORED_FIELDS, FieldShape

__all__ = [
    "GOING_ON",
    "MAX_NUMBER",
    "api_keys",
    "entities",
    "keys",
    "lanes",
    "meta",
    "metadata",
    "moves",
    "projects",
    "run_files",
    "runs",
    "sessions",
    "tombstones",
]

MAX_NUMBER = 2**32 - 1
GOING_ON = ("running", "preempting")
"""States of runs that have not ended."""


class Json(TypeDecorator[Any]):
    """JSON as text. The database's own type would lose NaN and refuse a NUL character, and the catalog
    never queries the content."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        return json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        try:
            return json.loads(value)
        except (TypeError, ValueError, RecursionError):
            return None  # one damaged row must not fail all rows read with it


# SQLite numbers rows automatically only if the key is a plain INTEGER.
_Number = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData()


def _table(name: str, *columns: Any) -> Table:
    return Table(name, metadata, *columns, sqlite_autoincrement=True)


def _number() -> Column[int]:
    return Column("number", _Number, primary_key=True, autoincrement=True)


def _json(name: str) -> Column[Any]:
    return Column(name, Json, nullable=False, default=dict)


def _time(name: str) -> Column[int]:
    """Microseconds since 1970 UTC."""
    return Column(name, BigInteger, nullable=False)


def _zero(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, default=0, server_default="0")


def _tick() -> Column[int]:
    return _zero("tick")


meta = Table(
    "meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

entities = Table("entities", metadata, Column("name", Text, primary_key=True), _time("created_at"))

# A deleted project keeps its row, because its number and its keys' must never be reused; the next run in
# it makes it visible again.
projects = _table(
    "projects",
    _number(),
    Column("entity", ForeignKey("entities.name"), nullable=False),
    Column("project", Text, nullable=False),
    _time("created_at"),
    Column("updated_at", BigInteger, nullable=False, default=0, server_default="0"),
    _tick(),
    _zero("deleted_at"),
    UniqueConstraint("entity", "project"),
)


_FIRST_COLUMNS = frozenset(
    {
        "run", "name", "state", "group", "job_type", "tags", "notes", "config", "summary", "info",
        "created_at", "updated_at",
    }
)  # fmt: skip
"""A run's fields in the first revision. Columns of later ones need a default in the database, since older
code that is still running leaves them out."""

_RUN_COLUMNS: dict[FieldShape, tuple[Any, Any, Any]] = {
    FieldShape.TEXT: (Text, "", text("''")),
    FieldShape.TEXTS: (Json, list, "[]"),
    FieldShape.OBJECT: (Json, dict, "{}"),
    FieldShape.TIME: (BigInteger, None, "0"),
}
"""Type, default here, and default in the database."""


def _run_column(name: str) -> Column[Any]:
    kind, default, stored_default = _RUN_COLUMNS[RUN_FIELDS[name].shape]
    return Column(
        name,
        kind,
        nullable=False,
        default=None if name == "run" else default,
        server_default=None if name in _FIRST_COLUMNS else stored_default,
    )


_EDITED = text("edited")
_GOES_ON = text(f"state IN {GOING_ON}")

# `silent`: marked crashed for lack of signs of life; the next one revives it.
# `heard`: what was heard of each writer, and who set each field last; see `runs.heard`.
# `edited`: the summary has values that an edit set, until the run logs their keys again.
# `versions`: what code of revision 0009 had in its place. Only read, to begin `heard` with.
runs = _table(
    "runs",
    _number(),
    Column("project", ForeignKey("projects.number"), nullable=False),
    *map(_run_column, STORED_FIELDS),
    _json("versions"),
    Column("heard", Json, nullable=False, default=dict, server_default="{}"),
    Column("edited", Boolean, nullable=False, default=False, server_default=false()),
    _tick(),
    Column("silent", Boolean, nullable=False, default=False, server_default=false()),
    UniqueConstraint("project", "run"),
    Index("runs_by_tick", "project", "tick"),
    Index("runs_by_age", "project", "created_at", "number"),
    Index("runs_edited", "number", sqlite_where=_EDITED, postgresql_where=_EDITED),
    Index("runs_going_on", "number", sqlite_where=_GOES_ON, postgresql_where=_GOES_ON),
)

keys = _table(
    "keys",
    _number(),
    Column("project", ForeignKey("projects.number"), nullable=False),
    Column("name", Text, nullable=False),
    UniqueConstraint("project", "name"),
)

# `kind`, `step` and `began`: how the writer says that it took up the run; see `contracts.lanes`.
# `outlived`: it turned out to have resumed nothing.
lanes = Table(
    "lanes",
    metadata,
    Column("run", ForeignKey("runs.number"), primary_key=True),
    Column("lane", Integer, primary_key=True, autoincrement=False),
    Column("writer", Text, nullable=False),
    Column("rank", BigInteger, nullable=False),
    _time("started"),
    Column("kind", Text, nullable=False, default="", server_default=text("''")),
    _zero("step"),
    _zero("began"),
    Column("outlived", Boolean, nullable=False, default=False, server_default=false()),
    UniqueConstraint("run", "writer"),
    Index("lanes_by_start", "run", "rank", "began"),
)

# Content is in the blob store; `md5` is base64, as in HTTP and object stores.
run_files = Table(
    "run_files",
    metadata,
    Column("run", ForeignKey("runs.number"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("md5", String(24), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("mimetype", Text, nullable=False),
    _time("updated_at"),
    Index("run_files_by_digest", "sha256"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("entity", Text, nullable=False),
    Column("scopes", Json, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("label", Text, nullable=False),
    Column("revoked", Boolean, nullable=False),
    _time("created_at"),
    _zero("expires_at"),
    _zero("last_used_at"),
)

# `id` is a hash: it cannot be used to log in.
sessions = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("key", String(64), nullable=False),
    _time("created_at"),
    _time("expires_at"),
    Index("sessions_by_key", "key"),
)

# What remains of a deleted run; see `penstock_storage.catalog.tombstones`. `name` is its id.
tombstones = _table(
    "tombstones",
    _number(),
    Column("run", BigInteger, nullable=False),
    Column("project", ForeignKey("projects.number"), nullable=False),
    Column("name", Text, nullable=False),
    Column("writers", Json, nullable=False),
    Column("digests", Json, nullable=False, default=list, server_default="[]"),
    _time("deleted_at"),
    _zero("swept_at"),
    Column("settled", Boolean, nullable=False, default=False, server_default=false()),
    _zero("moved_to"),
    _tick(),
    UniqueConstraint("run"),
    Index("tombstones_by_name", "project", "name"),
    Index("tombstones_by_tick", "project", "tick"),
    Index("tombstones_unsettled", "settled"),
)

# Runs that are being moved to another project, each with the number of its copy.
moves = Table(
    "moves",
    metadata,
    Column("run", BigInteger, primary_key=True, autoincrement=False),
    Column("project", ForeignKey("projects.number"), nullable=False),
    Column("copy", BigInteger, nullable=False),
    _time("asked_at"),
    UniqueConstraint("copy"),
)
