"""Files of runs: their names, and the content of each.

Content is in the blob store under its SHA-256; only the listing is here. A name is a relative path with
`/` between folders, kept as its writer spelled it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Table, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.elements import ColumnElement

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_storage.catalog.chunks import chunks
from penstock_storage.catalog.database import Database
from penstock_storage.catalog.tables import run_files

__all__ = ["RunFile", "RunFiles", "file_name", "is_file_name"]

_MAX_NAME_BYTES = 2_000  # PostgreSQL's indexes accept at most 2,700


@dataclass(frozen=True, slots=True)
class RunFile:
    """A file of a run. `sha256`: 64 hex digits; `md5`: base64; `updated_at`: µs since 1970."""

    name: str
    sha256: str
    md5: str
    size_bytes: int
    mimetype: str
    updated_at: int


def file_name(given: str) -> str:
    """The normalized name of a file: `./a//b` becomes `a/b`.

    Raises `Rejected` for an invalid name, or one that points outside of its run.
    """
    parts = [part for part in given.split("/") if part not in ("", ".")]
    name = "/".join(parts)
    if not parts or ".." in parts or "\0" in name:
        raise Rejected(
            f"{given[:200]!r} cannot be the name of a file", code=ErrorCode.BAD_FILE_NAME
        )
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise Rejected("a file's name must be Unicode", code=ErrorCode.BAD_FILE_NAME) from None
    if size > _MAX_NAME_BYTES:
        raise Rejected(
            f"a file's name has at most {_MAX_NAME_BYTES} bytes, this has {size}",
            code=ErrorCode.BAD_FILE_NAME,
        )
    return name


def is_file_name(given: str) -> bool:
    """Whether this is a valid file name."""
    try:
        file_name(given)
    except Rejected:
        return False
    return True


class RunFiles:
    """The files of all runs, by the run's number. Names are normalized by `file_name`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, run: int, file: RunFile) -> None:
        """Set the content of a name; of several contents for one name the newest wins."""
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        row = {"run": run, **{name: getattr(file, name) for name in RunFile.__slots__}}
        statement = insert(run_files).values(row)
        fresh = statement.excluded
        changed = {name: fresh[name] for name in row if name not in ("run", "name")}
        statement = statement.on_conflict_do_update(
            index_elements=["run", "name"],
            set_=changed,
            where=run_files.c.updated_at <= fresh.updated_at,
        )
        async with self._database.writing() as connection:
            await connection.execute(statement)

    async def get(self, run: int, name: str) -> RunFile | None:
        """The file with this name."""
        query = _files.where(run_files.c.run == run, run_files.c.name == name)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).first()
        return RunFile(*row) if row is not None else None

    async def list(
        self,
        run: int,
        *,
        names: Sequence[str] | None = None,
        pattern: str | None = None,
        after: str | None = None,
        limit: int = 1_000,
    ) -> list[RunFile]:
        """At most `limit` files ordered by name, after the name `after`.

        `names` and `pattern` filter; the latter is SQL's LIKE: `%` any text, `_` any character,
        `\\` before either takes it as it is; upper and lower case are alike.
        """
        mine = _chosen(run, pattern)
        if after is not None:
            mine.append(run_files.c.name > after)
        found: list[RunFile] = []
        async with self._database.reading() as connection:
            for chosen in [None] if names is None else chunks(sorted(set(names))):
                query = _files.where(*mine)
                if chosen is not None:
                    query = query.where(run_files.c.name.in_(chosen))
                query = query.order_by(run_files.c.name).limit(limit)
                found += (RunFile(*row) for row in await connection.execute(query))
        return found[:limit]

    async def count(
        self, run: int, *, names: Sequence[str] | None = None, pattern: str | None = None
    ) -> int:
        """The number of the run's files, or of those that match names and pattern."""
        query = select(func.count()).select_from(run_files).where(*_chosen(run, pattern))
        total = 0
        async with self._database.reading() as connection:
            for chosen in [None] if names is None else chunks(sorted(set(names))):
                named = query if chosen is None else query.where(run_files.c.name.in_(chosen))
                total += await connection.scalar(named) or 0
        return total

    async def delete(self, run: int, names: Sequence[str]) -> int:
        """Remove these names; returns how many existed. Their content stays."""
        deleted = 0
        async with self._database.writing() as connection:
            for chosen in chunks(sorted(set(names))):
                statement = delete(run_files).where(
                    run_files.c.run == run, run_files.c.name.in_(chosen)
                )
                deleted += (await connection.execute(statement)).rowcount
        return deleted

    async def digests_in_use(self, digests: Sequence[str]) -> set[str]:
        """The SHA-256 digests among these that are the content of any run's file."""
        found: set[str] = set()
        async with self._database.reading() as connection:
            for chosen in chunks(sorted(set(digests))):
                query = select(run_files.c.sha256).where(run_files.c.sha256.in_(chosen)).distinct()
                found.update(await connection.scalars(query))
        return found

    async def is_used(self, digest: str) -> bool:
        """Whether any run's file has this content."""
        return bool(await self.digests_in_use([digest]))


_table: Table = run_files
_files = select(*(_table.c[name] for name in RunFile.__slots__))


def _chosen(run: int, pattern: str | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [run_files.c.run == run]
    if pattern is not None:
        conditions.append(run_files.c.name.ilike(_whole(pattern), escape="\\"))
    return conditions


def _whole(pattern: str) -> str:
    """A pattern without a trailing `\\`, which one database refuses, and without NUL, which no name has."""
    bare = pattern.replace("\0", "")
    ends = len(bare) - len(bare.rstrip("\\"))
    return bare + "\\" if ends % 2 else bare
