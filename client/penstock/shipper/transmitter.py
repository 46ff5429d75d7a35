"""The second stage of a sender: its requests, one at a time, through the server's circuit breaker.

It only sends and asks; what a reply or a refusal means is decided by `outcomes`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.errors import Rejected
from penstock.failpoints import fail
from penstock.link import Link
from penstock.shipper.api_key import SpoolKey
from penstock.shipper.circuit_breaker import CircuitBreaker
from penstock.shipper.cuts import Cut
from penstock.shipper.open_spool import OpenSpool
from penstock.shipper.replies import Reply
from penstock.shipper.uploads import put_file
from penstock.spool.files import SpooledFile
from penstock.wire import join_batches

__all__ = ["Transmitter"]


class Transmitter:
    """Sends one spool's batches and asks for its position. Every request raises Held, Transient or
    Rejected."""

    def __init__(self, spool: OpenSpool, link: Link, breaker: CircuitBreaker) -> None:
        self.key = SpoolKey(spool.meta)
        self._spool = spool
        self._link = link
        self._breaker = breaker

    @property
    def is_well(self) -> bool:
        """Whether the server answered the last request, of whichever spool."""
        return self._breaker.failures == 0

    @property
    def wait_s(self) -> float:
        """How long all requests must wait."""
        return self._breaker.wait_s

    def send(self, cut: Cut) -> Reply:
        """Send a batch: the same bytes whenever it is sent. Raises OSError if it cannot be read."""
        spool = self._spool
        raw = spool.builder.bytes_of(cut)
        spool.report.count_damage(spool.reader)
        key = self.key.now()
        age_us = spool.meta.age_us
        reply = self._ask(lambda: self._link.post_batches(join_batches([raw]), key, age_us=age_us))
        fail("shipper.after_send")
        return Reply.of(reply)

    def poll(self) -> Reply:
        """Ask for the writer's position."""
        key = self.key.now()
        try:
            return Reply.of(self._ask(lambda: self._link.writer_position(self._spool.meta, key)))
        except Rejected as error:
            if error.status != 404:  # 404: not known there yet
                raise
            return Reply()

    def upload(self, file: SpooledFile) -> None:
        """Send one of the run's files."""
        key, meta = self.key.now(), self._spool.meta

        def put() -> dict[str, Any]:
            put_file(self._link, meta, key, file)
            return {}

        self._ask(put)

    def _ask(self, request: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        meta = self._spool.meta
        return self._breaker.call((meta.entity, meta.project), request)
