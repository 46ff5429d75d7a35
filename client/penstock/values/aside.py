"""A side thread that reads users' objects and is abandoned if one of them hangs.

A worker reads one `Later` after another, watched by a second thread: if a read takes longer than
`PATIENCE_S`, the worker is abandoned, the value is given up with a notice, and another worker
continues with the next one. Trusted reads (arrays of known types, device copies) have no limit.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from penstock.values.walk import LEFT_OUT, Later, NotKept, ValueTooLarge

__all__ = ["PATIENCE_S", "Aside", "reason_of"]

PATIENCE_S = 5.0
"""How long reading one object may take, and how long a drain waits for all hanging reads."""
_AGAIN_S = (PATIENCE_S, 1.0, 0.0)  # by how often the type has hung before
_HURRIED_S = 0.05
_MAX_WAITING = 10_000
_MAX_STUCK = 8
_GRACE_S = 0.5
_IDLE_S = 10.0
"""Idle threads end after this time: a process may have many runs, one after another."""


class _Abandoned(BaseException):
    """Raised inside an abandoned thread to end it."""


@dataclass(slots=True)
class _Job:
    tree: Any
    deliver: Callable[[Any], None]
    size: int


class _Worker:
    """A reading thread and the value it is reading."""

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self.reading: Later | None = None
        self.since = 0.0
        self.abandoned = False


class Aside:
    """Jobs in order: pending values in a job's tree are read, then the plain tree is delivered."""

    def __init__(self, on_fault: Callable[[Exception], None] = lambda error: None) -> None:
        """`on_fault` is called with an error that a delivery raised, in the side thread."""
        self._on_fault = on_fault
        self.held = 0
        """Bytes of waiting array copies."""
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._put = self._done = 0
        self._worker: _Worker | None = None
        self._watcher: threading.Thread | None = None
        self._stuck: list[_Worker] = []
        self._hung: dict[type, int] = {}
        self._hurry_at = float("inf")

    def put(self, tree: Any, deliver: Callable[[Any], None], size: int = 0) -> bool:
        """Queue a job; False if the queue is full. `size`: bytes of array copies in the tree."""
        with self._changed:
            if len(self._jobs) >= _MAX_WAITING:
                return False
            self._jobs.append(_Job(tree, deliver, size))
            try:
                self._need_threads()
            except (RuntimeError, MemoryError):  # no thread could be started
                self._jobs.pop()
                return False
            self._put += 1
            self.held += size
            self._changed.notify_all()
        return True

    def drain(self, timeout_s: float) -> bool:
        """Wait until what is queued now has been delivered; False on time-out. Other threads may go on
        queueing."""
        with self._changed:
            last = self._put
            self._hurry_at = time.monotonic() + PATIENCE_S
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: self._done >= last, timeout_s)
            finally:
                self._hurry_at = float("inf")

    def ask(self, tree: Any) -> Any:
        """Wait for the plain tree; None if that takes too long. Hanging reads are given up in time."""
        if threading.current_thread() in (self._watcher, self._worker and self._worker.thread):
            return None
        found: list[Any] = []
        done = threading.Event()

        def deliver(kept: Any) -> None:
            found.append(kept)
            done.set()

        if not self.put(tree, deliver) or not done.wait(PATIENCE_S + 2 * _GRACE_S):
            return None
        return found[0]

    def _need_threads(self) -> None:
        if self._worker is None:
            worker = _Worker()
            worker.thread = threading.Thread(
                target=self._work, args=(worker,), name="penstock-values", daemon=True
            )
            worker.thread.start()
            self._worker = worker
        if self._watcher is None:
            watcher = threading.Thread(target=self._watch, name="penstock-watch", daemon=True)
            watcher.start()
            self._watcher = watcher

    def _work(self, mine: _Worker) -> None:
        with contextlib.suppress(_Abandoned):
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: bool(self._jobs) or mine.abandoned, _IDLE_S)
                    if mine.abandoned:
                        return
                    if not self._jobs:
                        self._worker = None
                        self._changed.notify_all()
                        return
                    job = self._jobs[0]
                try:
                    job.deliver(self._settled(mine, job.tree))
                except Exception as error:  # the seam: the next jobs continue
                    with contextlib.suppress(Exception):
                        self._on_fault(error)
                with self._changed:
                    if self._worker is not mine:
                        return
                    self._jobs.popleft()
                    self._done += 1
                    self.held -= job.size
                    self._changed.notify_all()

    def _settled(self, mine: _Worker, tree: Any) -> Any:
        """The tree with its pending values replaced by their results."""
        if type(tree) is Later:
            if not tree.settled:
                self._read(mine, tree)
            return self._settled(mine, tree.result)
        if type(tree) is list:
            parts = [self._settled(mine, each) for each in tree]
            return [each for each in parts if each is not LEFT_OUT]
        if type(tree) is dict:
            settled: dict[Any, Any] = {}
            for name, each in tree.items():
                key, value = name, self._settled(mine, each)
                if type(name) is Later:
                    key = str(self._settled(mine, name))
                    if key in settled or key in tree:
                        name.walk.note(key, "left out: another key in the map has this name")
                        continue
                if value is not LEFT_OUT:
                    settled[key] = value
            return settled
        return tree

    def _read(self, mine: _Worker, later: Later) -> None:
        refusal = None
        with self._changed:
            if mine.abandoned:
                raise _Abandoned
            if not later.trusted and self._patience_s(later) <= 0:
                refusal = f"left out: reading a {later.kind_name} does not finish"
            else:
                mine.since, mine.reading = time.monotonic(), later
                if not later.trusted:
                    self._changed.notify_all()
        if refusal is not None:
            later.fail(refusal)
            return
        found = failure = left_out = None
        try:
            found = later.read()
        except NotKept as reason:
            left_out = str(reason)
        except BaseException as error:  # the seam to users' objects
            failure = reason_of(error)
        mine.reading = None
        if mine.abandoned:
            raise _Abandoned
        with self._changed:
            if mine.abandoned:
                raise _Abandoned
            if not later.trusted:
                self._changed.notify_all()
        if failure is not None:
            later.fail(f"left out: {failure}")
            return
        if left_out is not None:
            later.walk.note(later.where, f"left out: {left_out}")
            later.finish(LEFT_OUT)
            return
        try:
            later.settle(found)
        except ValueTooLarge as reason:
            later.walk.note(later.where, f"left out: {reason}")
            later.finish(LEFT_OUT)

    def _patience_s(self, later: Later) -> float:
        self._stuck = [each for each in self._stuck if each.thread and each.thread.is_alive()]
        if len(self._stuck) >= _MAX_STUCK:
            return 0.0
        times = self._hung.get(later.kind, 0)
        return _AGAIN_S[min(times, len(_AGAIN_S) - 1)]

    def _watch(self) -> None:
        while True:
            with self._changed:
                worker = self._worker
                later = worker.reading if worker is not None else None
                if worker is None:
                    self._watcher = None
                    return
                if later is None or later.trusted:
                    self._changed.wait()
                    continue
                by = worker.since + self._patience_s(later)
                by = min(by, max(self._hurry_at, worker.since + _HURRIED_S))
                left_s = by - time.monotonic()
                if left_s > 0:
                    self._changed.wait(left_s)
                    continue
                if worker.reading is not later:
                    continue
                worker.abandoned = True
                self._stuck.append(worker)
                if later.kind is not object:
                    self._hung[later.kind] = self._hung.get(later.kind, 0) + 1
            self._replace(later)
            time.sleep(_GRACE_S if self._hurry_at == float("inf") else _HURRIED_S)
            _interrupt(worker)

    def _replace(self, later: Later) -> None:
        """Give up a value and let another worker continue with the next one."""
        with contextlib.suppress(Exception):
            later.fail(f"left out: reading it took longer than {PATIENCE_S:.0f} s")
        with self._changed:
            self._worker = None
            try:
                self._need_threads()
            except (RuntimeError, MemoryError):
                self._done += len(self._jobs)
                self._jobs.clear()
            self._changed.notify_all()


def _interrupt(worker: _Worker) -> None:
    """Raise in a thread that still runs Python code, so that it stops using the processor.

    Delayed, so that a thread that was about to return has released our locks by then."""
    thread = worker.thread
    if thread is None or thread.ident is None or not thread.is_alive():
        return
    with contextlib.suppress(Exception):
        import ctypes  # noqa: PLC0415  (only for the rare thread that never ends)

        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(_Abandoned)
        )


def reason_of(error: BaseException) -> str:
    """An error as text; computing that text may run users' code too."""
    name = type(error).__name__
    try:
        text = " ".join(str(error).split())[:200]
    except BaseException:
        return name
    return f"{name}: {text}" if text else name
