"""Heartbeats: one request per server now and then, for all spools that are still held.

They tell the server which runs live though they log nothing, and tell the shipper where the store
stands, so that a store that was replaced is noticed also for spools that have nothing left to send.
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

__all__ = ["Heartbeats"]

log = logging.getLogger(__name__)

INTERVAL_S = 15.0
UNKNOWN_RETRY_S = 3_600.0
"""How long a server that does not know heartbeats, an older one, is not asked."""
_MAX_WRITERS = 1_000


@dataclass
class _Server:
    due: float
    running: Future[float] | None = None
    senders: list[SpoolSender] = field(default_factory=list)


class Heartbeats:
    """Sends those of one root through `pool`. Call `turn` often."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._servers: dict[tuple[Link, CircuitBreaker], _Server] = {}

    def turn(self, now: float, held: Iterable[tuple[Link, CircuitBreaker, SpoolSender]]) -> None:
        """Send what is due at `now`, on the monotonic clock, for these spools."""
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
        """Until none is under way, but not for ever."""
        wait((s.running for s in self._servers.values() if s.running is not None), timeout_s)


def _send_heartbeats(link: Link, breaker: CircuitBreaker, senders: list[SpoolSender]) -> float:
    """Send the heartbeats of these spools; returns how many seconds later the next are due."""
    try:
        for key, asked in _by_key(senders).items():
            for start in range(0, len(asked), _MAX_WRITERS):
                part = asked[start : start + _MAX_WRITERS]
                if not _exchange(link, breaker, key, part):
                    return UNKNOWN_RETRY_S
    except Held as held:
        return min(held.wait_s, INTERVAL_S)
    except PenstockError as error:
        log.info("heartbeat: %s", error)
    except Exception:  # the seam: without heartbeats the spools are sent all the same
        log.exception("heartbeat failed")
    return INTERVAL_S


def _by_key(senders: list[SpoolSender]) -> dict[str, list[SpoolSender]]:
    asked: dict[str, list[SpoolSender]] = {}
    for sender in senders:
        try:
            asked.setdefault(sender.key.now(), []).append(sender)
        except Rejected:  # no key: its own turns say so
            continue
    return asked


def _exchange(link: Link, breaker: CircuitBreaker, key: str, senders: list[SpoolSender]) -> bool:
    """Whether the server knows heartbeats."""
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
