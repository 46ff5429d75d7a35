"""A connection to Redis that broke is an error that everybody is ready for, on uvloop too."""

from __future__ import annotations

from pathlib import Path

import pytest
import uvloop
from redis.exceptions import ConnectionError
from support.redis import running_redis


def test_writing_to_a_connection_that_just_broke(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_redis(tmp_path) as handle, handle.client() as redis:
            await redis.set("x", "y")
            (connection,) = redis.connection_pool._available_connections
            writer = connection._writer
            assert writer is not None
            writer.transport.abort()
            with pytest.raises(ConnectionError):
                await connection.send_command("GET", "x")
            assert await redis.get("x") == b"y"

    uvloop.run(main())
