"""A real PostgreSQL for tests, where its programs are installed."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import os
import pwd
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

__all__ = ["Postgres", "running_postgres", "why_no_postgres"]

_START_S = 30.0


def why_no_postgres() -> str | None:
    """Why `running_postgres` cannot work here, or None if it can."""
    if _program("initdb") is None or _program("postgres") is None:
        return "PostgreSQL is not installed"
    if importlib.util.find_spec("asyncpg") is None:
        return "asyncpg is not installed"
    if os.geteuid() == 0 and _user() is None:
        return "PostgreSQL does not run as root, and there is no other user to run it as"
    return None


def _program(name: str) -> str | None:
    """Where a program of PostgreSQL is: on PATH, or where Debian keeps the newest."""
    versions = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    newest = sorted(versions, key=lambda path: [int(n) for n in re.findall(r"\d+", str(path))])
    return shutil.which(name) or next(map(str, reversed(newest)), None)


def _user() -> str | None:
    """Whom to run the server as if we are root, whom PostgreSQL refuses: no one of importance."""
    if os.geteuid() == 0:
        for name in ("postgres", "nobody"):
            with suppress(KeyError):
                return pwd.getpwnam(name).pw_name
    return None


@dataclass
class Postgres:
    """A running server, listening on a unix socket in `folder`, and at `address` if it has one."""

    folder: Path
    process: asyncio.subprocess.Process
    address: str = ""
    _names: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def url(self, database: str) -> str:
        return f"postgresql+asyncpg://tester@/{database}?host={self.folder}"

    def url_at_address(self, database: str) -> str:
        """The URL of the same database as this one's, over the network."""
        return f"postgresql+asyncpg://tester@{self.address}/{_name_of(database)}"

    async def new_database(self, *, encoding: str = "UTF8", like: str | None = None) -> str:
        """The URL of a new database, empty or a copy of the one at the URL `like`."""
        name = f"test{next(self._names)}"
        template = "template0" if like is None else _name_of(like)
        await self._say(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE {template}")
        return self.url(name)

    async def set_read_only(self, url: str, is_read_only: bool) -> None:
        """Whether new connections to a database may only read, as those to a standby."""
        name = _name_of(url)
        value = "on" if is_read_only else "off"
        await self._say(f"ALTER DATABASE {name} SET default_transaction_read_only = {value}")

    async def _say(self, statement: str) -> None:
        engine = create_async_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        try:
            async with engine.connect() as connection:
                await connection.execute(text(statement))
        finally:
            await engine.dispose()


def _name_of(url: str) -> str:
    return url.partition("@/")[2].partition("?")[0]


@asynccontextmanager
async def running_postgres(address: str = "") -> AsyncIterator[Postgres]:
    """A server in a folder of its own, killed at the end; with an address, anybody who reaches that may use
    it."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-pg-"))
    user = _user()
    if user is not None:
        shutil.chown(folder, user)
    data = folder / "data"
    programs = [_program(name) for name in ("initdb", "postgres")]
    assert programs[0] is not None
    assert programs[1] is not None
    initdb = await asyncio.create_subprocess_exec(
        *(programs[0], "-D", str(data), "-U", "tester", "-A", "trust", "-N", "-E", "UTF8"),
        "--no-locale",
        stdout=asyncio.subprocess.DEVNULL,
        user=user,
        cwd=folder,
    )
    assert await initdb.wait() == 0
    if address:
        with (data / "pg_hba.conf").open("a") as file:
            file.write("host all all 0.0.0.0/0 trust\n")
    server = await asyncio.create_subprocess_exec(
        *(
            programs[1],
            "-D",
            str(data),
            "-k",
            str(folder),
            "-c",
            f"listen_addresses={address}",
            "-F",
        ),
        stderr=asyncio.subprocess.DEVNULL,
        user=user,
        cwd=folder,
    )
    postgres = Postgres(folder, server, address)
    try:
        await _wait_until_ready(postgres)
        yield postgres
    finally:
        with suppress(ProcessLookupError):
            server.kill()
        await server.wait()
        shutil.rmtree(folder, ignore_errors=True)


async def _wait_until_ready(postgres: Postgres) -> None:
    async with asyncio.timeout(_START_S):
        while True:
            with suppress(OSError, DBAPIError):
                await postgres.new_database()
                return
            await asyncio.sleep(0.05)
