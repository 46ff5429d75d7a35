"""PostgreSQL on a machine that vanishes, or clients of it that do: packets go nowhere, and nobody says so.

Without these options a query would wait for a quarter of an hour, which is how long the kernel sends again,
and the locks of a client that vanished in a transaction would be held for two hours, after which the
server's kernel first asks whether it is still there.
"""

from __future__ import annotations

import socket
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["notice_vanished"]

_IDLE_S, _EVERY_S, _TIMES = 10, 5, 3
"""After this much silence the kernel asks, this often, this many times: 25 s in all."""
_UNANSWERED_S = _IDLE_S + _EVERY_S * _TIMES
_SERVER_SIDE = (
    f"SET tcp_keepalives_idle = {_IDLE_S}",
    f"SET tcp_keepalives_interval = {_EVERY_S}",
    f"SET tcp_keepalives_count = {_TIMES}",
    # The kernel asks only on a connection that is silent: what was sent and not acknowledged has a clock of its own.
    f"SET tcp_user_timeout = {_UNANSWERED_S * 1000}",
)
_CLIENT_SIDE = {
    "TCP_KEEPIDLE": _IDLE_S,
    "TCP_KEEPINTVL": _EVERY_S,
    "TCP_KEEPCNT": _TIMES,
    "TCP_USER_TIMEOUT": _UNANSWERED_S * 1000,
}
"""Linux' names; of another system's, those that it has."""


def notice_vanished(engine: AsyncEngine) -> None:
    """Let both ends of this engine's connections notice, within half a minute, that the other is gone."""

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, _: object) -> None:
        transport = connection.driver_connection._transport  # asyncpg has no other way
        _ask_often(transport.get_extra_info("socket"))
        cursor = connection.cursor()
        for statement in _SERVER_SIDE:
            cursor.execute(statement)
        cursor.close()
        connection.commit()  # what is set in a transaction ends with it


def _ask_often(end: Any) -> None:
    if end is None or end.family == socket.AF_UNIX:
        return
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _CLIENT_SIDE.items():
        if hasattr(socket, name):
            end.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
