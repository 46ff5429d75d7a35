"""PostgreSQL and a pod that vanish from each other's network in the middle of a transaction: both find out within
half a minute, where TCP alone would take a quarter of an hour, or two."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from support.pods.network import Host, network
from support.postgres import running_postgres, why_no_postgres

from penstock_storage.catalog.database import Database

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(480)]

NOTICED_S = 120
"""Four times as long as it may take, on a machine that does other things as well."""
_UPDATE = "UPDATE counts SET n = n + 1"
_SCRIPT = f"""
import asyncio, sys
from sqlalchemy import text
from penstock.errors import Transient
from penstock_storage.catalog.database import Database

def read():
    return asyncio.to_thread(sys.stdin.readline)

async def main(url):
    database = Database(url)
    try:
        async with database.writing() as connection:
            await connection.execute(text("{_UPDATE}"))
            print("holds", flush=True)
            await read()
            await connection.execute(text("{_UPDATE}"))
    except Transient:
        print("noticed", flush=True)
    await read()
    async with database.writing() as connection:
        await connection.execute(text("{_UPDATE}"))
    print("updated", flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


class Client:
    """A process on a host of its own that updates a row, and goes on when it is told to."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def says(self, word: str) -> None:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), NOTICED_S)
        assert line.decode().strip() == word

    def go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")


@asynccontextmanager
async def client(host: Host, url: str) -> AsyncIterator[Client]:
    process = await asyncio.create_subprocess_exec(
        *(*host.enter, sys.executable, "-c", _SCRIPT, url),
        env=os.environ,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Client(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_vanished_transaction_holds_up_nobody_for_long() -> None:
    if reason := why_no_postgres():
        pytest.skip(reason)
    with network() as net:
        host = net.host("client")
        async with running_postgres(net.here) as server:
            url = await server.new_database()
            ours = Database(url)
            async with ours.writing() as connection:
                await connection.execute(text("CREATE TABLE counts AS SELECT 0 AS n"))
            async with client(host, server.url_at_address(url)) as theirs:
                await theirs.says("holds")
                net.isolate(host)
                async with asyncio.timeout(NOTICED_S):  # the row is locked until they are gone
                    async with ours.writing() as connection:
                        await connection.execute(text(_UPDATE))
                theirs.go_on()
                await theirs.says("noticed")
                net.rejoin(host)
                theirs.go_on()
                await theirs.says("updated")
            async with ours.reading() as connection:
                assert await connection.scalar(text("SELECT n FROM counts")) == 2
            await ours.close()
