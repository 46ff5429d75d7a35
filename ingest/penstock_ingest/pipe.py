"""One pipelined connection to Redis, for the few commands that batches and positions need.

redis-py costs several times as much as the command itself; here a command is packed in C, written,
and its reply parsed in C. Replies come in the order of commands. There is no retry: when the
connection breaks or a reply is overdue, the connection is dropped and all pending commands fail,
since they may have run; the next command reconnects.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import deque
from typing import Any, cast

from hiredis import HiredisError, Reader, ReplyError, pack_command
from redis.asyncio.connection import parse_url
from redis.exceptions import ConnectionError, TimeoutError

__all__ = ["Command", "Pipe", "Reply"]

Reply = Any
Command = tuple[str | bytes | int, ...]


class Pipe:
    """Commands out, replies in. `timeout_s` limits connecting, and the wait for each reply (measured in
    eighths of it)."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._options: dict[str, Any] = dict(parse_url(url))
        self._timeout_s = timeout_s
        self._connection: _Connection | None = None
        self._attempt: asyncio.Task[_Connection] | None = None

    @property
    def server(self) -> str:
        """Which Redis process answers: another one may lack what the previous one had queued."""
        return self._connection.server if self._connection is not None else ""

    async def execute(self, command: Command) -> Reply:
        """The reply; an error reply is returned, as a `ReplyError`, not raised.

        Raises redis-py's `ConnectionError` or `TimeoutError`; then the command may have run.
        """
        connection = self._connection
        if connection is None or connection.is_closed:
            connection = await self._connected()
        return await connection.send(command)

    def close(self) -> None:
        """Drop the connection; pending commands fail."""
        if self._attempt is not None:
            self._attempt.cancel()
        if self._connection is not None:
            self._connection.abort(ConnectionError("closed"))

    async def _connected(self) -> _Connection:
        """One attempt to connect for all waiting commands: it fails them together, and continues if one of
        them is cancelled."""
        if self._attempt is None:
            self._attempt = asyncio.create_task(self._connect(), name="connect to Redis")
            self._attempt.add_done_callback(self._attempted)
        return await asyncio.shield(self._attempt)

    def _attempted(self, attempt: asyncio.Task[_Connection]) -> None:
        self._attempt = None
        if not attempt.cancelled() and attempt.exception() is None:
            self._connection = attempt.result()

    async def _connect(self) -> _Connection:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._open()
        except TimeoutError_ as error:
            raise TimeoutError("connecting to Redis took too long") from error
        except OSError as error:
            raise ConnectionError(f"cannot connect to Redis: {error}") from error

    async def _open(self) -> _Connection:
        options, loop = self._options, asyncio.get_running_loop()

        def new() -> _Connection:
            return _Connection(self._timeout_s)

        if "path" in options:
            _, connection = await loop.create_unix_connection(new, options["path"])
        else:
            secure = ssl.create_default_context() if "connection_class" in options else None
            host, port = options.get("host", "localhost"), options.get("port", 6379)
            _, connection = await loop.create_connection(new, host, port, ssl=secure)
        try:
            for command in self._greetings():
                reply = await connection.send(command)
                if isinstance(reply, ReplyError):
                    raise ConnectionError(str(reply))
            reply = await connection.send(("INFO", "server"))
            # A Redis user may lack this permission: then the slow timer finds what was lost.
            found = _RUN_ID.search(reply) if isinstance(reply, bytes) else None
            connection.server = found[1].decode() if found else ""
        except BaseException:
            connection.abort(ConnectionError("Redis did not greet back"))
            raise
        return connection

    def _greetings(self) -> list[Command]:
        greetings: list[Command] = []
        password = self._options.get("password")
        if password:
            username = self._options.get("username")
            greetings.append(("AUTH", username, password) if username else ("AUTH", password))
        if self._options.get("db"):
            greetings.append(("SELECT", self._options["db"]))
        return greetings


TimeoutError_ = asyncio.TimeoutError  # redis-py's class of that name is another one
_TICKS = 8
_RUN_ID = re.compile(rb"run_id:(\w{12})")


class _Connection(asyncio.Protocol):
    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._reader = Reader()
        self._waiting: deque[asyncio.Future[Reply]] = deque()
        self._outgoing: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._watch: asyncio.TimerHandle | None = None
        self._sent = 0
        self._answered = 0
        self._sent_before: deque[int] = deque(maxlen=_TICKS)
        self.is_closed = False
        self.server = ""

    def send(self, command: Command) -> asyncio.Future[Reply]:
        """Queue a command for the next write; commands of the same loop turn go out together."""
        future = self._loop.create_future()
        if self.is_closed:
            future.set_exception(ConnectionError("the connection to Redis broke"))
            return future
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(pack_command(command))  # type: ignore[arg-type]
        self._waiting.append(future)
        self._sent += 1
        if self._watch is None:
            self._watch_replies()
        return future

    def abort(self, error: Exception) -> None:
        """Fail all pending commands."""
        self.is_closed = True
        if self._watch is not None:
            self._watch.cancel()
        self._transport.abort()
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._answered += 1
                future = self._waiting.popleft()
                if not future.done():  # else its request was cancelled
                    future.set_result(reply)
        except (HiredisError, IndexError) as error:
            self.abort(ConnectionError(f"Redis sent what is no reply: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.abort(ConnectionError(f"the connection to Redis broke: {exc or 'closed'}"))

    def _flush(self) -> None:
        if self._outgoing and not self.is_closed:
            self._transport.writelines(self._outgoing)
            self._outgoing = []

    def _watch_replies(self) -> None:
        self._sent_before.clear()
        self._watch = self._loop.call_later(self._timeout_s / _TICKS, self._check_overdue)

    def _check_overdue(self) -> None:
        """Give up once a command has waited for `timeout_s`, even if others were answered.

        Counted in ticks: commands need no timers of their own, and a delay of the event loop itself
        is not taken for a slow Redis.
        """
        self._watch = None
        if not self._waiting:
            return
        before = self._sent_before
        if len(before) == _TICKS and self._answered < before[0]:
            self.abort(TimeoutError("Redis did not answer in time"))
            return
        before.append(self._sent)
        self._watch = self._loop.call_later(self._timeout_s / _TICKS, self._check_overdue)
