"""Limits failed logins per account and address, so that one user's mistakes, or attacks on one account,
lock nobody else out.

An account is the public id of an API key. After ten failures in a minute an address may not try that
account. Many failures from one address with different accounts, or with one account from different
addresses, never lock out a caller with the right key: only wrong keys are refused. Each process counts
separately.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from math import ceil

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected, Transient

__all__ = ["LoginThrottle"]

_WINDOW_S = 60.0
_MAX_OF_PAIR = 10
_MAX_OF_ONE = 100
_MAX_ENTRIES = 10_000


class LoginThrottle:
    """`clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pairs = _Windows(_MAX_OF_PAIR, clock)
        self._ones = _Windows(_MAX_OF_ONE, clock)

    def check(self, account: str, address: str) -> None:
        """Raises `Transient` (429) if this address may not try this account now."""
        if wait_s := self._pairs.wait_s((account, address)):
            raise _too_many(wait_s)

    def failed(self, account: str, address: str, refusal: Rejected) -> Exception:
        """Count a failure; returns the error to answer with."""
        self._pairs.add((account, address))
        ones = [("account", account), ("address", address)]
        wait_s = max(self._ones.wait_s(one) for one in ones)
        for one in ones:
            self._ones.add(one)
        return _too_many(wait_s) if wait_s else refusal


def _too_many(wait_s: float) -> Transient:
    """The error, with the time after which to retry."""
    return Transient(
        "too many failed logins",
        code=ErrorCode.TOO_MANY_ATTEMPTS,
        retry_after_s=wait_s,
        hint=f"Wait {ceil(wait_s)} seconds.",
    )


class _Windows:
    """Failures by name, within a minute of the first. Keeps the names that failed last."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        self._windows: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def wait_s(self, name: Hashable) -> float:
        """How long further attempts are refused; 0 if they are not."""
        ends_at, count = self._windows.get(name, (0.0, 0))
        left_s = ends_at - self._clock()
        return left_s if count >= self._most and left_s > 0 else 0.0

    def add(self, name: Hashable) -> None:
        now = self._clock()
        ends_at, count = self._windows.pop(name, (0.0, 0))
        if ends_at <= now:
            ends_at, count = now + _WINDOW_S, 0
        self._windows[name] = (ends_at, count + 1)
        while len(self._windows) > _MAX_ENTRIES:
            self._windows.popitem(last=False)
