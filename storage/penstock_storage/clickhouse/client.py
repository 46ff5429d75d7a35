"""The point store over ClickHouse's HTTP protocol: a ClickHouse server or Penstock's own store process.

Owns the connection pool, the serializer of statements and parameters into requests, and the
classification of errors for retry. Guarantees that an insert is on disk when it returns, that every
wait has a timeout, and that a reply which breaks off raises: it is never silently truncated.
"""

from __future__ import annotations

import math
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
import numpy as np

from penstock.error_codes import ErrorCode
from penstock.errors import Broken, Transient
from penstock.ids import new_store_id
from penstock_common.process.sockets import notice_vanished_peer
from penstock_storage.clickhouse import native
from penstock_storage.clickhouse.schema import (
    COLUMNS,
    DATABASE,
    KEEP_EMPTY,
    SCHEMA_VERSION,
    TABLES,
    create_statements,
)
from penstock_storage.clickhouse.store_errors import error_in_reply, error_in_stream
from penstock_storage.clickhouse.tiers import build_coarser
from penstock_storage.contracts.interface import Column, Columns, Micros

__all__ = ["ClickHouse"]

_CHUNK_BYTES = 2**20
_MAX_PART_ROWS = 1_048_449  # ClickHouse's min_insert_block_size_rows: above it, several parts
_TAIL_BYTES = 2**16
_MAX_TYPES = 256
_INSERT_SETTINGS = {"optimize_on_insert": "0", "async_insert": "0", "insert_deduplicate": "0"}
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"})
_QUOTED_ESCAPES = str.maketrans(
    {"\\": "\\\\", "'": "\\'", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"}
)


class ClickHouse:
    """A `PointStore` at `unix:///path/store.sock`, `http://host:8123` or `https://user:pass@host`.

    `token` is the password; it takes precedence over one in the URL. `timeout_s` limits each statement;
    for `stream`, the wait for each piece. Create and use it inside one running event loop.
    """

    def __init__(
        self, url: str, *, token: str = "", timeout_s: float = 60.0, connections: int = 32
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme == "unix":
            self._base = "http://store/"
            self._socket: str | None = unquote(parts.path)
        elif parts.scheme in ("http", "https") and parts.hostname:
            port = f":{parts.port}" if parts.port else ""
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            self._base = f"{parts.scheme}://{host}{port}{parts.path or '/'}"
            self._socket = None
        else:
            raise ValueError(f"a store's URL starts with unix://, http:// or https://, not {url!r}")
        self._headers = {"X-ClickHouse-User": unquote(parts.username or "default")}
        if password := token or unquote(parts.password or ""):
            self._headers["X-ClickHouse-Key"] = password
        self._timeout_s = timeout_s
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._made = 0
        self._types: dict[str, dict[str, str]] = {}

    # -- the PointStore protocol

    async def setup(self) -> None:
        known = await self._meta("schema_version") if await self._has_meta() else None
        if known is not None and int(known) > SCHEMA_VERSION:
            raise Broken(
                f"the point store has schema version {known}, this Penstock knows up to"
                f" {SCHEMA_VERSION}: use the newer Penstock that wrote it"
            )
        for statement in create_statements():
            await self.execute(statement)
        if known is not None:
            await self._keep_empty_parts()
            await self._add_columns()
        if known is not None and int(known) < 2:
            await build_coarser(self)
        if known != str(SCHEMA_VERSION):
            await self._add_meta("schema_version", str(SCHEMA_VERSION), SCHEMA_VERSION)
        if await self._meta("store_id") is None:
            # If two start at once, the earlier one wins, for every later reader.
            await self._add_meta("store_id", new_store_id(), 2**63 - time.time_ns())

    async def _keep_empty_parts(self) -> None:
        """Tables of an older version lack this setting."""
        found = await self.query(
            f"SELECT name FROM system.tables WHERE database = '{DATABASE}'"
            f" AND engine LIKE '%MergeTree' AND engine_full NOT LIKE '%{KEEP_EMPTY}%'"
        )
        for table in found["name"]:
            await self.execute(f"ALTER TABLE {DATABASE}.{table} MODIFY SETTING {KEEP_EMPTY}")

    async def _add_columns(self) -> None:
        """Tables of an older version lack the columns that came later; rows that lack them have zeros."""
        found = await self.query(
            f"SELECT table, name FROM system.columns WHERE database = '{DATABASE}'"
        )
        there = set(zip(found["table"], found["name"], strict=True))
        for name, table in TABLES.items():
            for column, kind in table.columns.items():
                if (name, column) not in there:
                    await self.execute(
                        f"ALTER TABLE {DATABASE}.{name} ADD COLUMN IF NOT EXISTS {column} {kind}"
                    )

    async def store_id(self) -> str:
        return (await self.id_and_clock())[0]

    async def renew_id(self) -> str:
        renewed = new_store_id()
        # Above every version that a new store's id has; the last renewal wins.
        await self._add_meta("store_id", renewed, 2**63 + time.time_ns())
        return renewed

    async def id_and_clock(self) -> tuple[str, Micros]:
        found = await self._metas("store_id", "clock")
        if "store_id" not in found:
            raise Broken("the point store has no id: it was never set up")
        return found["store_id"], Micros(int(found.get("clock", 0)))

    async def set_clock(self, at: int) -> None:
        await self._add_meta("clock", str(at), at)

    async def noted(self, name: str) -> str | None:
        return await self._meta(name)

    async def note(self, name: str, text: str) -> None:
        await self._add_meta(name, text, time.time_ns())

    @property
    def connections(self) -> int:
        return self._made

    async def insert(self, table: str, columns: Mapping[str, Column]) -> None:
        types = {name: type_name for name, (type_name, _) in COLUMNS[table].items()}
        pieces = native.encode_block(types, columns)
        if (rows := len(columns[next(iter(types))])) > _MAX_PART_ROWS:
            raise ValueError(f"{rows} rows are more than the {_MAX_PART_ROWS} of one atomic part")
        sql = f"INSERT INTO {DATABASE}.{table} ({', '.join(types)}) FORMAT Native"
        url_params = {"query": sql, **_INSERT_SETTINGS, **self._time_limit()}
        size = sum(len(piece) for piece in pieces)
        async with self._request(url_params, _chunks(pieces), size) as response:
            await response.read()

    async def query(self, sql: str, params: Mapping[str, object] | None = None) -> Columns:
        blocks: dict[str, list[Column]] = {}
        async for block in self._blocks(sql, params):
            for name, column in block.items():
                blocks.setdefault(name, []).append(column)
        if not blocks:
            return await self._no_rows(sql, params)
        return {name: native.concatenate(parts) for name, parts in blocks.items()}

    def stream(
        self, sql: str, params: Mapping[str, object] | None = None
    ) -> AsyncIterator[Columns]:
        return self._blocks(sql, params, endless=True)

    async def download(
        self, sql: str, settings: Mapping[str, str] | None = None
    ) -> AsyncIterator[bytes]:
        # ClickHouse buffers the whole reply, so that an error arrives as an error.
        url_params = {**(settings or {}), "wait_end_of_query": "1"}
        body = sql.encode()
        async with self._request(url_params, _chunks([body]), len(body), endless=True) as response:
            async for chunk in response.content.iter_any():
                yield chunk

    async def execute(self, sql: str, params: Mapping[str, object] | None = None) -> None:
        url_params = {**self._time_limit(), **_statement_params(params)}
        body = sql.encode()
        async with self._request(url_params, body, len(body)) as response:
            await response.read()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ping(self) -> None:
        """Return if the store answers; else raise `Transient`."""
        timeout = aiohttp.ClientTimeout(total=5)
        try:
            async with self._open().get(self._base + "ping", timeout=timeout) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(error) from error
        if response.status != 200 or text.strip() != "Ok.":
            raise Transient(
                f"the point store is not ready: it answered {response.status}",
                code=ErrorCode.UNAVAILABLE,
            )

    # -- requests

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            if self._socket is not None:
                connector: aiohttp.BaseConnector = aiohttp.UnixConnector(
                    self._socket, limit=self._connections
                )
            else:
                connector = aiohttp.TCPConnector(
                    limit=self._connections, socket_factory=_noticing_socket
                )
            trace = aiohttp.TraceConfig()
            trace.on_connection_create_end.append(self._count_connection)
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers=self._headers,
                read_bufsize=_CHUNK_BYTES,
                raise_for_status=False,
                trace_configs=[trace],
            )
        return self._session

    async def _count_connection(self, *_: object) -> None:
        self._made += 1

    def _time_limit(self) -> dict[str, str]:
        return {"max_execution_time": str(math.ceil(self._timeout_s))}

    @asynccontextmanager
    async def _request(
        self,
        url_params: dict[str, str],
        body: AsyncIterator[bytes] | bytes,
        size_bytes: int,
        *,
        endless: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The reply to a statement, its body not yet read; any error reply is raised."""
        # The store times out first, so that its own message is reported.
        limit_s = self._timeout_s + 5
        timeout = aiohttp.ClientTimeout(
            total=None if endless else limit_s, sock_connect=10, sock_read=limit_s
        )
        try:
            async with self._open().post(
                self._base,
                params=url_params,
                data=body,
                headers={"Content-Length": str(size_bytes)},
                timeout=timeout,
            ) as response:
                if response.status != 200:
                    raise error_in_reply(
                        response.status,
                        response.headers.get("X-ClickHouse-Exception-Code"),
                        await response.text(errors="replace"),
                    )
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(error) from error

    async def _blocks(
        self,
        sql: str,
        params: Mapping[str, object] | None,
        *,
        endless: bool = False,
    ) -> AsyncIterator[Columns]:
        url_params = {"default_format": "Native", **_statement_params(params)}
        if not endless:
            url_params |= self._time_limit()
        body = sql.encode()
        decoder = native.BlockDecoder()
        tail: deque[bytes] = deque()
        async with self._request(url_params, body, len(body), endless=endless) as response:
            tag = response.headers.get("X-ClickHouse-Exception-Tag", "")
            try:
                async for chunk in response.content.iter_any():
                    tail.append(chunk)
                    while sum(map(len, tail)) - len(tail[0]) > _TAIL_BYTES:
                        tail.popleft()
                    for block in decoder.feed(chunk):
                        yield block
                last = decoder.finish()
            except (aiohttp.ClientError, Broken) as error:
                # A statement that fails half-way appends the error to the rows already sent.
                reason = error_in_stream(b"".join(tail)[-_TAIL_BYTES:], tag)
                if reason is None:
                    raise
                raise reason from error
            for block in last:
                yield block

    async def _no_rows(self, sql: str, params: Mapping[str, object] | None) -> Columns:
        """An empty reply has no columns, so ask for their types: once for each statement text, since
        parameters do not change them."""
        if sql.lstrip()[:6].upper() not in ("SELECT", "WITH"):
            return {}
        types = self._types.get(sql)
        if types is None:
            described: dict[str, list[Any]] = {"name": [], "type": []}
            async for block in self._blocks(f"DESCRIBE TABLE ({sql})", params):
                described["name"] += block["name"]
                described["type"] += block["type"]
            types = dict(zip(described["name"], described["type"], strict=True))
            if len(self._types) >= _MAX_TYPES:
                self._types.clear()
            self._types[sql] = types
        return {name: native.empty_column(type_name) for name, type_name in types.items()}

    # -- the meta table

    async def _has_meta(self) -> bool:
        found = await self.query(
            "SELECT name FROM system.tables WHERE database = {db:String} AND name = 'meta'",
            {"db": DATABASE},
        )
        return len(found["name"]) > 0

    async def _meta(self, name: str) -> str | None:
        return (await self._metas(name)).get(name)

    async def _metas(self, *names: str) -> dict[str, str]:
        params = {f"name{number}": name for number, name in enumerate(names)}
        among = ", ".join(f"{{{param}:String}}" for param in params)
        found = await self.query(
            f"SELECT name, value FROM {DATABASE}.meta FINAL WHERE name IN ({among})", params
        )
        return dict(zip(map(str, found["name"]), map(str, found["value"]), strict=True))

    async def _add_meta(self, name: str, value: str, ver: int) -> None:
        await self.insert(
            "meta", {"name": [name], "value": [value], "ver": np.array([ver], np.uint64)}
        )


def _noticing_socket(address: Any) -> socket.socket:
    """For a connection to this address, as `getaddrinfo` gives it."""
    made = socket.socket(*address[:3])
    made.setblocking(False)
    notice_vanished_peer(made)
    return made


def _unreachable(error: BaseException) -> Transient:
    reason = str(error) or type(error).__name__
    return Transient(
        f"the point store cannot be reached: {reason}", code=ErrorCode.STORE_UNREACHABLE
    )


async def _chunks(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        if len(piece) <= _CHUNK_BYTES:
            yield piece
            continue
        view = memoryview(piece)
        for start in range(0, len(piece), _CHUNK_BYTES):
            yield bytes(view[start : start + _CHUNK_BYTES])


def _statement_params(params: Mapping[str, object] | None) -> dict[str, str]:
    return {f"param_{name}": _param(value) for name, value in (params or {}).items()}


def _param(value: object) -> str:
    """A value in the syntax of `param_…`: a TSV field."""
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    return _literal(value)


def _literal(value: object) -> str:
    if isinstance(value, str):
        return f"'{value.translate(_QUOTED_ESCAPES)}'"
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return repr(float(value))
    if isinstance(value, np.ndarray):
        return _literal(value.tolist())
    if isinstance(value, Sequence | set | frozenset):
        return f"[{','.join(_literal(item) for item in value)}]"
    raise TypeError(f"a statement's parameter cannot be a {type(value).__name__}")
