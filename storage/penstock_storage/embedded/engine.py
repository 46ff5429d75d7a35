"""chDB, the ClickHouse engine in this process: opened once per folder, used through seats.

A seat is one chDB session and the one thread that uses it. Reads, inserts and everything else
have separate seats, so that none waits for another. A session that saw an error or was interrupted is
discarded: chDB 4.4 keeps the rows that a failed statement had already produced and returns them at the
start of the next result. Opening one takes half a millisecond.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, ParamSpec, Protocol, TypeVar

from penstock_common.process.watchdog import Watchdog
from penstock_storage.clickhouse.statement import State
from penstock_storage.clickhouse.store_errors import TOO_MANY_QUERIES, EngineError

# chDB imports pyarrow if it finds it, for result formats never used here: 0.4 s and 40 MB.
sys.modules.setdefault("pyarrow", None)  # type: ignore[arg-type]

import chdb.session  # noqa: E402

__all__ = ["Answer", "Engine", "Kind", "Seat", "Session"]

_log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
Kind = Literal["read", "insert", "other"]

_MAX_WAITING = 256
_PURGE_AFTER_S = 3.0
_OPTIONS = {
    "mark_cache_size": 32 * 2**20,
    "index_mark_cache_size": 16 * 2**20,
    "uncompressed_cache_size": 0,
    "index_uncompressed_cache_size": 0,
    # How often memory is compared with what the system counts. Allocations are counted at once anyway;
    # the default, 20 times a second, was half of what an idle store cost.
    "memory_worker_period_ms": 500,
}


class Result(Protocol):
    """A result, or a piece of one, in the requested format."""

    def bytes(self) -> bytes: ...
    def rows_read(self) -> int: ...


class Answer(Protocol):
    """A result that is taken piece by piece; `fetch` returns None after the last one."""

    def fetch(self) -> Result | None: ...
    def cancel(self) -> None: ...


class Session(Protocol):
    """The used part of chDB's session, which has no type hints."""

    def query(self, sql: str, fmt: str = ..., *, params: dict[str, str] | None = ...) -> Result: ...
    def send_query(self, sql: str, fmt: str, params: dict[str, str]) -> Answer: ...
    def close(self) -> None: ...


class Seat:
    """One session and its thread. Not shared: a seat has one holder at a time.

    `abandon` ends a statement that the holder leaves unfinished.
    """

    def __init__(self, connection: str, name: str) -> None:
        self.name = name
        self.state: State | None = None
        self.clean = True
        self.abandon: Callable[[], None] | None = None
        self._connection = connection
        self._session: Session | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._last: Future[Any] | None = None

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a chDB function in this seat's thread; raises `EngineError` if it fails."""
        self._last = self._thread.submit(function, *args, **kwargs)
        try:
            return await asyncio.wrap_future(self._last)
        except RuntimeError as error:  # chDB raises this for everything
            self.clean = False
            raise EngineError(str(error)) from error
        except asyncio.CancelledError:
            self.clean = False
            raise

    async def session(self, state: State) -> Session:
        """The session, in this state."""
        if self._session is None or state != self.state:
            self._session = await self.run(self._fresh, state)
            self.state = state
        return self._session

    def _fresh(self, state: State) -> Session:
        self._discard()
        session: Session = chdb.session.Session(self._connection)  # type: ignore[no-untyped-call]
        session.query(f"SET log_comment = '{self.name}'")
        for statement in state.statements():
            session.query(statement)
        return session

    def _discard(self) -> None:
        if self.abandon is not None:
            with contextlib.suppress(RuntimeError):
                self.abandon()
            self.abandon = None
        if self._session is not None:
            self._session.close()
        self._session, self.state = None, None

    @property
    def busy(self) -> bool:
        """Whether the thread is still working, though no caller waits for it."""
        return self._last is not None and not self._last.done()

    async def reset(self) -> None:
        """Discard the session once its thread is done."""
        await asyncio.wrap_future(self._thread.submit(self._discard))
        self.clean = True

    async def close(self) -> None:
        await self.reset()
        self._thread.shutdown(wait=False)


class _Pool:
    """The seats of one kind, and their waiting callers."""

    def __init__(self, seats: list[Seat]) -> None:
        self.seats = seats
        self._free = list(seats)
        self._count = asyncio.Semaphore(len(seats))
        self._waiting = 0

    async def take(self, state: State) -> Seat:
        """A free seat, preferably one whose session already has this state."""
        if self._waiting >= _MAX_WAITING:
            raise EngineError(
                f"Code: {TOO_MANY_QUERIES}. DB::Exception: {self._waiting} statements wait already."
                " (TOO_MANY_SIMULTANEOUS_QUERIES)"
            )
        self._waiting += 1
        try:
            await self._count.acquire()
        finally:
            self._waiting -= 1
        seat = next((seat for seat in self._free if seat.state == state), self._free[0])
        self._free.remove(seat)
        return seat

    async def take_all(self) -> None:
        """Wait until no seat is in use, and refuse new callers."""
        for _ in self.seats:
            await self._count.acquire()

    def give_back(self, seat: Seat) -> None:
        self._free.append(seat)
        self._count.release()

    @property
    def idle(self) -> bool:
        return len(self._free) == len(self.seats)


class Engine:
    """chDB over one folder. `memory_bytes` limits the memory of all statements together: one that exceeds
    it fails, but the engine lives on."""

    def __init__(
        self, path: Path, memory_bytes: int, readers: int, watchdog: Watchdog | None = None
    ) -> None:
        self._watchdog = watchdog or Watchdog()
        options = {"max_server_memory_usage": memory_bytes, **_OPTIONS}
        text = "&".join(f"{name}={value}" for name, value in options.items())
        connection = f"{path.resolve()}?{text}"
        # Keeps the engine open while other sessions come and go; kills and purges.
        self._control = Seat(connection, "control")
        counts = {"read": readers, "insert": 4, "other": 2}
        self._pools = {
            kind: _Pool([Seat(connection, f"{kind}-{n}") for n in range(count)])
            for kind, count in counts.items()
        }
        self._tasks: set[asyncio.Task[None]] = set()
        self._purge_timer: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Open the folder; raises `EngineError` if it is in use or cannot be read."""
        await self._tell("SELECT 1")

    async def close(self, grace_s: float) -> None:
        """Start nothing new, let running statements finish for `grace_s`, kill the rest, close the folder."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                for pool in self._pools.values():
                    await pool.take_all()
        if self._purge_timer is not None:
            self._purge_timer.cancel()
        seats = [seat for pool in self._pools.values() for seat in pool.seats]
        await asyncio.gather(*(self._stop(seat) for seat in seats))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for seat in (*seats, self._control):
            await seat.close()

    @contextlib.asynccontextmanager
    async def seat(self, kind: Kind, state: State) -> AsyncIterator[tuple[Seat, Session]]:
        """A seat for exclusive use, and its session in this state.

        If the block ends while the thread is still working (the task was cancelled), the statement is
        killed in the background before the seat is used again.
        """
        pool = self._pools[kind]
        seat = await pool.take(state)
        try:
            yield seat, await seat.session(state)
        except BaseException:
            seat.clean = False
            raise
        finally:
            if seat.clean and not seat.busy:
                seat.abandon = None
                pool.give_back(seat)
                self._purge_when_idle()
            else:
                self._start(self._retire(pool, seat))

    async def _retire(self, pool: _Pool, seat: Seat) -> None:
        await self._stop(seat)
        await seat.reset()
        pool.give_back(seat)
        self._purge_when_idle()

    async def _stop(self, seat: Seat) -> None:
        """Kill the statement of the seat's thread, until it has ended."""
        while seat.busy:
            with contextlib.suppress(EngineError):  # out of memory, say: the next attempt may work
                await self._tell(f"KILL QUERY WHERE Settings['log_comment'] = '{seat.name}' ASYNC")
            await asyncio.sleep(0.02)

    async def watch(self) -> None:
        """Check repeatedly that chDB responds, until cancelled. An error counts as a response."""
        wait_s = max(self._watchdog.patience_s / 3, 0.1)
        part = self._watchdog.part("chDB", 2 * self._watchdog.patience_s)
        try:
            while True:
                with contextlib.suppress(EngineError):
                    await self._tell("SELECT 1")
                part.beat()
                await asyncio.sleep(wait_s)
        finally:
            self._watchdog.leave(part)

    def _purge_when_idle(self) -> None:
        """When idle, return freed memory to the system: chDB's allocator keeps it."""
        if self._purge_timer is not None:
            self._purge_timer.cancel()
        if all(pool.idle for pool in self._pools.values()):
            loop = asyncio.get_running_loop()
            self._purge_timer = loop.call_later(_PURGE_AFTER_S, lambda: self._start(self._purge()))

    async def _purge(self) -> None:
        try:
            await self._tell("SYSTEM JEMALLOC PURGE")
        except EngineError as error:
            _log.warning("freed memory was not given back: %s", error)

    async def _tell(self, sql: str) -> None:
        session = await self._control.session(State())
        try:
            await self._control.run(session.query, sql)
        except EngineError:
            await self._control.reset()
            raise

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._watchdog.spawn(work, "store seats", ends=True)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
