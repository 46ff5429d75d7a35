"""ClickHouse's HTTP interface in front of the engine.

The rows of an insert go to the engine when the body is complete; results are sent block by block as the
client reads them. An error after the first rows is appended to them and the connection is cut, as
ClickHouse does, so that no client takes a partial result for a complete one.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import json
import logging
import re
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from penstock.ids import new_trailer_tag
from penstock_common.process.metrics import StoreMetrics
from penstock_storage.clickhouse.statement import (
    InsertHead,
    State,
    Statement,
    insert_head,
    select_format,
    state_and_params,
)
from penstock_storage.clickhouse.store_errors import (
    EngineError,
    http_status,
    is_file_gone,
    kind_of,
    stream_error,
)
from penstock_storage.embedded.engine import (
    Answer,
    Engine,
    Kind,
    Seat,
    Session,
)
from penstock_storage.embedded.insert_file import InsertFile

__all__ = ["application"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = logging.getLogger(__name__)

_MAX_STATEMENT_BYTES = 16 * 2**20
_MAX_HEAD_BYTES = 256 * 2**10
_MAX_STALL_S = 300.0
_ENCODINGS = ("identity", "gzip", "deflate")  # what aiohttp always decodes
_KIND = "kind"
_SETTING_NAME = re.compile(r"[a-z0-9_]+\Z", re.IGNORECASE)


def application(engine: Engine, token: str, metrics: StoreMetrics) -> web.Application:
    """The app. With a token, every request but /ping must carry it."""
    front = _Front(engine)
    app = web.Application(middlewares=[_measured(metrics), _token_check(token)])
    app.router.add_get("/ping", _ping)
    app.router.add_get("/", front.answer)
    app.router.add_post("/", front.answer)
    return app


async def _ping(_: web.Request) -> web.Response:
    return web.Response(text="Ok.\n")


def _measured(metrics: StoreMetrics) -> Any:
    """Times and counts statements, and turns errors into replies."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        try:
            return await handler(request)
        except EngineError as error:
            metrics.errors.labels(request.get(_KIND, "other"), kind_of(error.code)).inc()
            if is_file_gone(str(error)):
                # The engine keeps using that part until it is restarted.
                _log.error("store_files_gone detail=%s", error)
                signal.raise_signal(signal.SIGTERM)
            return web.Response(
                status=http_status(error.code),
                text=f"{error}\n",
                headers={"X-ClickHouse-Exception-Code": str(error.code)},
            )
        finally:
            if _KIND in request:
                took_s = time.perf_counter() - started
                metrics.operation_seconds.labels(request[_KIND]).observe(took_s)

    return answer


def _token_check(token: str) -> Any:
    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if token and request.path != "/ping":
            given = _given_token(request)
            if not given:
                raise _refusal(194, "A token is required (REQUIRED_PASSWORD)")
            if not hmac.compare_digest(given.encode(), token.encode()):
                raise _refusal(516, "The token is wrong (AUTHENTICATION_FAILED)")
        return await handler(request)

    return check


def _given_token(request: web.Request) -> str:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme == "Bearer":
        return value
    if scheme == "Basic":
        with contextlib.suppress(binascii.Error, UnicodeDecodeError):
            return base64.b64decode(value).decode().partition(":")[2]
        return ""
    return request.headers.get("X-ClickHouse-Key") or request.query.get("password", "")


def _refusal(code: int, text: str) -> EngineError:
    return EngineError(f"Code: {code}. DB::Exception: {text}")


class _Front:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def answer(self, request: web.Request) -> web.StreamResponse:
        state, params = state_and_params(request.query)
        if bad := [name for name in state.settings if not _SETTING_NAME.match(name)]:
            raise _refusal(115, f"Unknown setting {bad[0]!r} (UNKNOWN_SETTING)")
        if request.query.get("decompress") == "1" or request.query.get("compress") == "1":
            raise _refusal(48, "Compression is not supported here (NOT_IMPLEMENTED)")
        if request.headers.get("Content-Encoding", "identity") not in _ENCODINGS:
            raise _refusal(48, f"A body may be encoded as {_ENCODINGS} (NOT_IMPLEMENTED)")
        if request.content_type.startswith("multipart/"):
            raise _refusal(48, "Forms are not supported here (NOT_IMPLEMENTED)")
        if request.method == "GET":
            state = State(state.database, {**state.settings, "readonly": "2"})
        head, rest = await _read_head(request)
        if isinstance(head, InsertHead):
            return await self._insert(request, head, rest, state)
        return await self._run(request, head, state, params)

    async def _insert(
        self, request: web.Request, head: InsertHead, first: bytes, state: State
    ) -> web.Response:
        request[_KIND] = "insert"
        rows, is_read = InsertFile(), False
        try:
            rows.write(first)
            while piece := await _next(request):
                rows.write(piece)
            async with self._engine.seat("insert", state) as (seat, session):
                # If a statement fails or is interrupted, the seat ends the reading itself.
                seat.abandon, is_read = rows.close, True
                result = await seat.run(session.query, rows.statement(head))
                is_read = False
        finally:
            if not is_read:
                rows.close()
        summary = {"written_rows": str(result.rows_read()), "written_bytes": "0"}
        return web.Response(headers={"X-ClickHouse-Summary": json.dumps(summary)})

    async def _run(
        self, request: web.Request, sql: str, state: State, params: dict[str, str]
    ) -> web.StreamResponse:
        statement = select_format(sql, request.query.get("default_format", "TabSeparated"))
        headers = {
            "Content-Type": "application/octet-stream",
            "X-ClickHouse-Format": statement.format,
            "X-ClickHouse-Timezone": "UTC",
        }
        kind: Kind = "read" if statement.is_streamed else "other"
        request[_KIND] = kind
        async with self._engine.seat(kind, state) as (seat, session):
            if not statement.is_streamed:
                whole = await seat.run(_whole, session, statement, params)
                return web.Response(body=whole, headers=headers)
            answer, first = await seat.run(_begin, seat, session, statement, params)
            return await _send(request, headers, first, lambda: seat.run(_fetch, answer))


def _whole(session: Session, statement: Statement, params: dict[str, str]) -> bytes:
    return session.query(statement.sql, statement.format, params=params).bytes()


def _begin(
    seat: Seat, session: Session, statement: Statement, params: dict[str, str]
) -> tuple[Answer, list[bytes]]:
    """The first two pieces at once: most results have one, and each call costs a thread switch."""
    answer = session.send_query(statement.sql, statement.format, params)
    seat.abandon = answer.cancel
    return answer, [_fetch(answer), _fetch(answer)]


def _fetch(answer: Answer) -> bytes:
    piece = answer.fetch()
    return b"" if piece is None else piece.bytes()


async def _send(
    request: web.Request,
    headers: dict[str, str],
    first: list[bytes],
    fetch: Callable[[], Awaitable[bytes]],
) -> web.StreamResponse:
    """Write pieces until `fetch` has none; each waits until the client has read the previous one."""
    piece, following = first
    if not following:
        return web.Response(body=piece, headers=headers)
    tag = new_trailer_tag()
    response = web.StreamResponse(headers={**headers, "X-ClickHouse-Exception-Tag": tag})
    await response.prepare(request)
    try:
        while piece:
            async with asyncio.timeout(_MAX_STALL_S):
                await response.write(piece)
            piece, following = following, await fetch() if following else b""
    except EngineError as error:
        # Without the terminating chunk, no client takes this for the whole result.
        await response.write(stream_error(str(error), tag))
        if request.transport is not None:
            request.transport.close()
        raise
    await response.write_eof()
    return response


async def _read_head(request: web.Request) -> tuple[InsertHead | str, bytes]:
    """The statement; for an INSERT, its head and the first bytes of its rows.

    As in ClickHouse, the statement is the URL's `query`, a line end, and the body.
    """
    query = request.query.get("query", "")
    if query and (head := insert_head(query)):
        return head, query[head.end :].encode()
    text = bytearray(query.encode() + b"\n" if query else b"")
    while piece := await _next(request):
        text += piece
        if text[:_MAX_HEAD_BYTES].lstrip()[:6].upper() == b"INSERT":
            # Latin-1 keeps one character per byte, even if binary rows follow the head.
            start = bytes(text[:_MAX_HEAD_BYTES]).decode("latin-1")
            found = insert_head(start)
            if found and (found.end < len(start) or start.endswith("\n")):
                sql = found.sql.encode("latin-1").decode()
                return InsertHead(sql, found.format, found.end), bytes(text[found.end :])
        if len(text) > _MAX_STATEMENT_BYTES:
            raise _refusal(62, "The statement is too long (SYNTAX_ERROR)")
    return text.decode("utf-8", "replace").strip(), b""


async def _next(request: web.Request) -> bytes:
    """More of the body, empty at its end. Raises if the client stalls or disconnects."""
    try:
        async with asyncio.timeout(_MAX_STALL_S):
            return await request.content.readany()
    except TimeoutError:
        raise _refusal(209, "The body has stalled (SOCKET_TIMEOUT)") from None
