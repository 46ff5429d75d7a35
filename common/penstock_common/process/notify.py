"""The protocol in which a process reports its state to its parent: systemd's `sd_notify`.

`penstock up` listens to its children the way systemd listens to services, so a role reports the same
to either, and reports nothing if neither listens.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

__all__ = ["ALIVE", "EXTEND", "EXTEND_S", "READY", "STOPPING", "Notifier", "without_notify"]

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"
EXTEND_S = 15
EXTEND = f"EXTEND_TIMEOUT_USEC={EXTEND_S}000000"
"""The start takes longer, because of a lot of work, and not because of something that is missing."""
_NAMES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """Sends datagrams to `address`; sends none if that is empty."""

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_s = watchdog_s
        """How long the listener waits for the next `ALIVE`; 0 if it does not."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Notifier:
        """The notifier that this environment asks for."""
        microseconds = environ.get("WATCHDOG_USEC", "")
        is_ours = environ.get("WATCHDOG_PID") in (None, "", str(os.getpid()))
        watchdog_s = int(microseconds) / 1e6 if microseconds.isdigit() and is_ours else 0.0
        return cls(environ.get("NOTIFY_SOCKET", ""), watchdog_s)

    def tell(self, *lines: str) -> None:
        """Send these lines without waiting. A listener that is gone or does not keep up loses them."""
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            out.sendto("\n".join(lines).encode(), self._address)


def without_notify(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a child that does not report for this process."""
    return {name: value for name, value in environ.items() if name not in _NAMES}
