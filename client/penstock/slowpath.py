"""Rows that the fast path does not take: odd keys, odd values, and values that are not known yet.

Everything here is counted and said once; nothing raises into the training loop, unless the settings
say `strict`. Values that must be waited for are resolved by a thread of their own, which then
appends them under the step and time of their `log` call.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from penstock.notices import NOTICES
from penstock.values import flatten, plain, resolve
from penstock.writer import MAX_KEY_BYTES, MAX_KEYS, RESERVED_KEYS, NoRoom, Writer, is_key

__all__ = ["SlowPath"]

_MAX_WAITING = 10_000


class SlowPath:
    """Takes any row. `writer` is set right after construction: the two know each other."""

    writer: Writer

    def __init__(self, *, strict: bool = False) -> None:
        self._strict = strict
        self._aside = _Aside(self._append)

    def __call__(self, data: object, step: Any, commit: bool | None) -> None:
        try:
            self._take(data, step, commit)
        except NoRoom as reason:
            self.writer.drop(str(reason))
        except Exception as error:  # the seam: whatever is wrong with a row, the training goes on
            if self._strict:
                raise
            self.writer.drop(f"{type(error).__name__}: {error}")

    def drain(self, timeout_s: float) -> bool:
        """Wait until no value is waited for; False if that took too long."""
        return self._aside.drain(timeout_s)

    def forget_after_fork(self) -> None:
        self._aside = _Aside(self._append)

    def _take(self, data: object, step: Any, commit: bool | None) -> None:
        if not isinstance(data, Mapping):
            raise TypeError(f"log() takes a dict, got {type(data).__name__}")
        flat = flatten(data)
        at_ns = _time_ns(flat.get("_timestamp"))
        row_step = self.writer.take_step(None if step is None else _integer(step), commit)
        now: dict[str, Any] = {}
        later: dict[str, Callable[[], Any]] = {}
        for key, value in flat.items():
            name = _usable_key(key)
            if name is None:
                continue
            resolved = self._resolve(name, value)
            if callable(resolved):
                later[name] = resolved
            else:
                now[name] = resolved
        self._append(now, row_step, at_ns)
        if later and not self._aside.put(later, row_step, at_ns):
            self.writer.drop("too many values wait for a device")

    def _resolve(self, name: str, value: Any) -> Any:
        try:
            return resolve(value)
        except Exception as error:  # the seam to whatever object was logged
            if self._strict:
                raise
            NOTICES.warn(f"value {name}", f"{name!r} is logged as text: {error}")
            return f"<{type(value).__name__}>"

    def _append(self, row: dict[str, Any], step: int, at_ns: int) -> None:
        items = list(row.items())
        for start in range(0, len(items), MAX_KEYS):
            self.writer.append_row(dict(items[start : start + MAX_KEYS]), step, at_ns)


class _Aside:
    """A thread that resolves values, started when the first one comes."""

    def __init__(self, append: Callable[[dict[str, Any], int, int], None]) -> None:
        self._append = append
        self._rows: deque[tuple[dict[str, Callable[[], Any]], int, int]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, row: dict[str, Callable[[], Any]], step: int, at_ns: int) -> bool:
        with self._changed:
            if len(self._rows) >= _MAX_WAITING:
                return False
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="penstock-values", daemon=True
                )
                self._thread.start()
            self._rows.append((row, step, at_ns))
            self._changed.notify_all()
        return True

    def drain(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._rows, timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._rows))
                row, step, at_ns = self._rows[0]
            try:
                self._append({key: plain(value()) for key, value in row.items()}, step, at_ns)
            except Exception as error:  # the seam to whatever object was logged
                NOTICES.warn("aside", f"a logged value could not be read: {error!r}")
            with self._changed:
                self._rows.popleft()
                self._changed.notify_all()


def _usable_key(key: str) -> str | None:
    if is_key(key):
        return key
    if key in RESERVED_KEYS:
        return None
    mended = "".join(" " if c < " " or c == "\x7f" else c for c in key)
    mended = mended.encode(errors="replace")[:MAX_KEY_BYTES].decode(errors="ignore").strip()
    NOTICES.warn("key", f"the key {key[:80]!r} was changed to {mended[:80]!r}")
    return mended or None


def _time_ns(timestamp: Any) -> int:
    if isinstance(timestamp, (int, float)) and 0 < timestamp < 2**33:
        return int(timestamp * 1e9)
    return time.time_ns()


def _integer(step: Any) -> int:
    """Accepts what is a whole number in any guise: np.int64, a 0-d tensor, 3.0."""
    whole = int(step)
    if whole != step:
        raise ValueError(f"step must be a whole number, got {step!r}")
    return whole
