"""Finds the factor by which mixed precision has scaled the gradients of a backward pass.

Nothing in a gradient says so, and the scaler is in a user's or framework's hands. While a model is
watched, `GradScaler.scale` therefore remembers the scaler that was last used; it does nothing else.
"""

from __future__ import annotations

import functools
import threading
import weakref
from typing import Any

__all__ = ["SCALES", "GradientScales"]


class GradientScales:
    """The scaler used last in this process, noticed while somebody listens."""

    def __init__(self) -> None:
        self.calls = 0
        """How often a loss has been scaled: a pass before which this did not grow was not scaled."""
        self._last: weakref.ref[Any] | None = None
        self._lock = threading.RLock()  # a model may be collected at any time
        self._listeners = 0
        self._originals: list[tuple[type, Any]] = []

    def listen(self, torch: Any) -> None:
        with self._lock:
            self._listeners += 1
            if self._listeners == 1:
                for kind in _scalers(torch):
                    self._notice(kind)

    def forget(self) -> None:
        """Undo one `listen`; the last one restores the classes."""
        with self._lock:
            self._listeners -= 1
            if self._listeners == 0:
                for kind, original in self._originals:
                    kind.scale = original  # type: ignore[attr-defined]
                self._originals = []
                self._last = None

    def current(self) -> Any:
        """The scale as a tensor on its device; None if there is none."""
        scaler = self._last() if self._last is not None else None
        if scaler is None or not scaler.is_enabled():
            return None
        return getattr(scaler, "_scale", None)

    def _notice(self, kind: Any) -> None:
        original = kind.scale

        @functools.wraps(original)
        def scale(scaler: Any, *args: Any, **named: Any) -> Any:
            self.calls += 1
            self._last = weakref.ref(scaler)
            return original(scaler, *args, **named)

        kind.scale = scale
        self._originals.append((kind, original))


def _scalers(torch: Any) -> list[Any]:
    """The classes that define `scale` themselves: FSDP's does."""
    found, left = [], [torch.amp.GradScaler]
    while left:
        kind = left.pop()
        left.extend(kind.__subclasses__())
        if "scale" in vars(kind):
            found.append(kind)
    return found


SCALES = GradientScales()
