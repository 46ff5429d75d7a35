"""Monitors the children of `penstock up` and its disks.

Python children send heartbeats as they would to systemd; Redis is probed. A child that is silent for
longer than its patience is replaced. Only time in which this process itself was awake counts.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from penstock_common.process.notify import ALIVE, EXTEND, READY
from penstock_common.process.watchdog import Watchdog, WatchedPart
from penstock_common.queue.problems import Problem
from penstock_server.child import Child
from penstock_server.disks import disk_problems

__all__ = ["ChildWatch"]

_TICKS = 15
_DISKS_EVERY_S = 5.0


class ChildWatch:
    """Monitors all children of one supervisor."""

    def __init__(
        self,
        children: Sequence[Child],
        *,
        redis_socket: Path,
        patience_s: float,
        folders: Mapping[str, Path],
        low_bytes: int,
    ) -> None:
        self._children = children
        self._redis_socket = redis_socket
        self._tick_s = min(1.0, patience_s / _TICKS) if patience_s > 0 else 1.0
        self._patience_s = patience_s
        self._folders = folders
        self._low_bytes = low_bytes
        self._disks: list[Problem] = []

    async def run(self, sockets: Mapping[str, Path], watchdog: Watchdog) -> None:
        """Until cancelled: receive heartbeats from children with a socket, probe Redis, check disks."""
        loop, part = asyncio.get_running_loop(), watchdog.part("children")
        beside = [watchdog.spawn(self._look_at_disks(), "disks")]
        async with AsyncExitStack() as opened:
            for child in self._children:
                path = sockets.get(child.part)
                if path is not None:
                    transport, _ = await loop.create_datagram_endpoint(
                        _heard_by(child), local_addr=str(path), family=socket.AF_UNIX
                    )
                    opened.callback(path.unlink, missing_ok=True)
                    opened.callback(transport.close)
                elif child.name == "redis":
                    beside.append(watchdog.spawn(self._ask_redis(child), "redis probe"))
            try:
                await self._look(part)
            finally:
                watchdog.leave(part)
                for task in beside:
                    task.cancel()

    def condition(self) -> dict[str, Any]:
        """The state of the parts and the disks' problems, as JSON."""
        parts = [
            {
                "name": child.part,
                "state": child.state,
                "since": child.changed_at,
                "restarts": child.restarts,
            }
            for child in self._children
        ]
        problems = [
            {"code": each.code, "text": each.text, "subject": each.subject} for each in self._disks
        ]
        return {"parts": parts, "problems": problems}

    async def _look(self, part: WatchedPart) -> None:
        looked = time.monotonic()
        while True:
            now = time.monotonic()
            passed_s, looked = min(now - looked, 2 * self._tick_s), now
            part.beat()
            for child in self._children:
                child.look(passed_s)
            await asyncio.sleep(self._tick_s)

    async def _look_at_disks(self) -> None:
        """In a separate thread: a network disk may not respond at all."""
        while True:
            self._disks = await asyncio.to_thread(
                disk_problems, self._folders, low_bytes=self._low_bytes
            )
            await asyncio.sleep(_DISKS_EVERY_S)

    async def _ask_redis(self, child: Child) -> None:
        wait_s = max(self._patience_s / 5, 0.1)
        while True:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(wait_s):
                    if reply := await _answer(self._redis_socket):
                        is_loading = reply.startswith(b"-LOADING")
                        child.record_heartbeat((READY, ALIVE, *([EXTEND] if is_loading else [])))
            await asyncio.sleep(wait_s)


async def _answer(redis_socket: Path) -> bytes:
    """The answer of Redis, even if it is that it is still loading or cannot write. Asked without its client,
    which takes more memory than the rest of this process."""
    reader, writer = await asyncio.open_unix_connection(str(redis_socket))
    try:
        writer.write(b"PING\r\n")
        return await reader.readline()
    finally:
        writer.close()


def _heard_by(child: Child) -> Callable[[], asyncio.DatagramProtocol]:
    class Heard(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, _: Any) -> None:
            lines: Collection[str] = data.decode(errors="replace").splitlines()
            child.record_heartbeat(lines)

    return Heard
