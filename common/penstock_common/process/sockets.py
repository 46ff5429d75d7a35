"""Connections to a machine that vanishes: packets go nowhere, and nobody says so.

By itself the kernel sends again for a quarter of an hour, and asks a silent connection for the first time after two
hours.
"""

from __future__ import annotations

import socket
from typing import Any

__all__ = ["EVERY_S", "IDLE_S", "TIMES", "UNANSWERED_S", "notice_vanished_peer"]

IDLE_S, EVERY_S, TIMES = 10, 5, 3
"""After this much silence the kernel asks, this often, this many times."""
UNANSWERED_S = IDLE_S + EVERY_S * TIMES
"""How long the other end may take to acknowledge anything at all."""
_OPTIONS = {
    "TCP_KEEPIDLE": IDLE_S,
    "TCP_KEEPINTVL": EVERY_S,
    "TCP_KEEPCNT": TIMES,
    "TCP_USER_TIMEOUT": UNANSWERED_S * 1000,
}
"""Linux' names; of another system's, those that it has."""


def notice_vanished_peer(end: Any) -> None:
    """Let this socket fail once the other end has been gone for 25 s. Nothing to do for a unix socket."""
    if end is None or end.family == socket.AF_UNIX:
        return
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _OPTIONS.items():
        if hasattr(socket, name):
            end.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
