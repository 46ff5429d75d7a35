"""Heartbeats: a periodic request per server for all spools that are still held.

They tell the server which runs are alive although they log nothing, and tell the shipper each
writer's position, so that a replaced store is noticed even for spools with nothing left to send.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from penstock.errors import PenstockError, Rejected
from penstock.link import Link
from penstock.shipper.circuit_breaker import CircuitBreaker, Held
from penstock.shipper.sender import SpoolSender

__all__ = ["HeartbeatSender"]

log = logging.getLogger(__name__)

INTERVAL_S = 15.0
UNKNOWN_RETRY_S = 3_600.0
"""Retry interval for older servers without heartbeats."""
_MAX_WRITERS = 1_000


@dataclass
class _Server:
    due: float
    running: Future[float] | None = None
    senders: list[SpoolSender] = field(default_factory=list)


class HeartbeatSender:
    """Sends the heartbeats of one root through `pool`. Call `turn` often."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._servers: dict[tuple[Link, CircuitBreaker], _Server] = {}

    def turn(self, now: float, held: Iterable[tuple[Link, CircuitBreaker, SpoolSender]]) -> None:
        """Send what is due at `now` (monotonic) for these spools."""
        for server in self._servers.values():
            server.senders.clear()
        for link, breaker, sender in held:
            self._servers.setdefault((link, breaker), _Server(now)).senders.append(sender)
        for (link, breaker), server in self._servers.items():
            if server.running is not None and server.running.done():
                server.due = now + server.running.result()
                server.running = None
            if server.running is None and now >= server.due and server.senders:
                server.running = self._pool.submit(
                    _send_heartbeats, link, breaker, list(server.senders)
                )

    def wait(self, timeout_s: float) -> None:
        """Wait, in bounded time, until none is in flight."""
        wait((s.running for s in self._servers.values() if s.running is not None), timeout_s)


def _send_heartbeats(link: Link, breaker: CircuitBreaker, senders: list[SpoolSender]) -> float:
    """Send these spools' heartbeats; returns after how many seconds the next are due."""
    try:
        for key, grouped in _by_key(senders).items():
            for start in range(0, len(grouped), _MAX_WRITERS):
                part = grouped[start : start + _MAX_WRITERS]
                if not _exchange(link, breaker, key, part):
                    return UNKNOWN_RETRY_S
    except Held as held:
        return min(held.wait_s, INTERVAL_S)
    except PenstockError as error:
        log.info("heartbeat: %s", error)
    except Exception:  # the seam: spools are sent even without heartbeats
        log.exception("heartbeat failed")
    return INTERVAL_S


def _by_key(senders: list[SpoolSender]) -> dict[str, list[SpoolSender]]:
    grouped: dict[str, list[SpoolSender]] = {}
    for sender in senders:
        try:
            grouped.setdefault(sender.key.now(), []).append(sender)
        except Rejected:  # no key: its own turns report that
            continue
    return grouped


def _exchange(link: Link, breaker: CircuitBreaker, key: str, senders: list[SpoolSender]) -> bool:
    """Send one request; returns whether the server supports heartbeats."""
    reply_counts = [sender.reply_count for sender in senders]
    writers = [_described(sender) for sender in senders]
    reply = breaker.call("heartbeats", lambda: link.heartbeats(writers, key))
    if reply is None:
        return False
    store, positions = reply.get("store"), reply.get("marks")
    for sender, count, position in zip(senders, reply_counts, positions or [], strict=False):
        if isinstance(position, dict) and position.get("writer") == sender.meta.writer:
            sender.acknowledge(count, {"store": store, **position})
    return True


def _described(sender: SpoolSender) -> dict[str, Any]:
    meta = sender.meta
    return {
        "entity": meta.entity,
        "project": meta.project,
        "run": meta.run,
        "writer": meta.writer,
        "alive": sender.alive,
    }
