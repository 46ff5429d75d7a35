"""PostgreSQL on a machine that vanishes, or clients of it that do: both ends find out within half a minute.

Otherwise a query would wait for a quarter of an hour, and the locks of a client that vanished in a transaction
would be held for as long, or for two hours if nothing was on its way.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from penstock_common.process.sockets import (
    EVERY_S,
    IDLE_S,
    TIMES,
    UNANSWERED_S,
    notice_vanished_peer,
)

__all__ = ["notice_vanished"]

_SERVER_SIDE = (
    f"SET tcp_keepalives_idle = {IDLE_S}",
    f"SET tcp_keepalives_interval = {EVERY_S}",
    f"SET tcp_keepalives_count = {TIMES}",
    # A connection is asked only while it is silent: what was sent and not acknowledged has a clock of its own.
    f"SET tcp_user_timeout = {UNANSWERED_S * 1000}",
)


def notice_vanished(engine: AsyncEngine) -> None:
    """Let both ends of this engine's connections notice that the other one is gone."""

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, _: object) -> None:
        transport = connection.driver_connection._transport  # asyncpg has no other way
        notice_vanished_peer(transport.get_extra_info("socket"))
        cursor = connection.cursor()
        for statement in _SERVER_SIDE:
            cursor.execute(statement)
        cursor.close()
        connection.commit()  # what is set in a transaction ends with it
