"""API keys and sessions of the page in the catalog: list, revoke, end."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import delete, select, update

from penstock_storage.catalog.chunks import chunks
from penstock_storage.catalog.database import Database
from penstock_storage.catalog.tables import api_keys, sessions
from penstock_storage.contracts.account_rows import KeyRow, SessionRow

__all__ = ["SqlAccounts"]


class SqlAccounts:
    """`Accounts` over SQLAlchemy Core."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keys(self, entity: str | None = None) -> list[KeyRow]:
        query = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
        if entity is not None:
            query = query.where(api_keys.c.entity == entity)
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [
            KeyRow(
                id=row["id"],
                entity=row["entity"],
                scopes=frozenset(row["scopes"] or ()),
                name=row["label"],
                created_at=row["created_at"],
                last_used_at=row["last_used_at"],
                expires_at=row["expires_at"],
                revoked=row["revoked"],
            )
            for row in rows
        ]

    async def revoke(self, ids: Collection[str]) -> None:
        async with self._database.writing() as connection:
            for some in chunks(sorted(ids)):
                await connection.execute(
                    update(api_keys).where(api_keys.c.id.in_(some)).values(revoked=True)
                )
                await connection.execute(delete(sessions).where(sessions.c.key.in_(some)))

    async def key_used(self, key_id: str, at: int) -> None:
        used = api_keys.c
        statement = (
            update(api_keys)
            .where(used.id == key_id, used.last_used_at < at)
            .values(last_used_at=at)
        )
        async with self._database.writing() as connection:
            await connection.execute(statement)

    async def open_session(self, session: SessionRow) -> None:
        row = {name: getattr(session, name) for name in SessionRow.__slots__}
        async with self._database.writing() as connection:
            await connection.execute(
                delete(sessions).where(sessions.c.expires_at <= session.created_at)
            )
            await connection.execute(sessions.insert(), row)

    async def session(self, session_id: str) -> SessionRow | None:
        query = select(sessions).where(sessions.c.id == session_id)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else SessionRow(**row)

    async def end_session(self, session_id: str) -> None:
        async with self._database.writing() as connection:
            await connection.execute(delete(sessions).where(sessions.c.id == session_id))

    async def end_sessions(self, key_id: str) -> None:
        async with self._database.writing() as connection:
            await connection.execute(delete(sessions).where(sessions.c.key == key_id))
