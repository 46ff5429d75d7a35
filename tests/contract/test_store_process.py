"""The store process under faults: killed, stopped, spoken to badly."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from support.store import (
    StoreAddress,
    StoreHandle,
    running_store,
    shared_store,
    start_store,
    until_running,
)

from penstock.errors import Broken, Transient
from penstock_storage.clickhouse.client import ClickHouse
from penstock_storage.clickhouse.native import encode_block
from penstock_storage.clickhouse.schema import COLUMNS
from penstock_storage.contracts.interface import Columns


def batch(number: int, rows: int = 2_000) -> Columns:
    return {
        "key": np.full(rows, number, np.uint32),
        "run": np.ones(rows, np.uint32),
        "lane": np.zeros(rows, np.uint16),
        "step": np.arange(rows, dtype=np.int64),
        "v": np.full(rows, float(number)),
        "seq": np.ones(rows, np.uint32),
    }


def body(number: int, rows: int = 2_000) -> bytes:
    types = {name: type_name for name, (type_name, _) in COLUMNS["points"].items()}
    return b"".join(encode_block(types, batch(number, rows)))


async def rows_by_key(points: ClickHouse) -> dict[int, int]:
    answer = await points.query("SELECT key, count() AS n FROM penstock.points FINAL GROUP BY key")
    return dict(zip(list(answer["key"]), list(answer["n"]), strict=True))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[StoreHandle]:
    """One of the test's own, with its tables."""
    async with running_store(tmp_path) as handle:
        await set_up(handle)
        yield handle


@pytest.fixture
async def shared() -> AsyncIterator[StoreAddress]:
    """The same, for tests that harm neither the process nor its files."""
    async with shared_store() as address:
        await set_up(address)
        yield address


async def set_up(store: StoreAddress) -> None:
    client = store.client()
    await client.setup()
    await client.close()


async def raw(store: StoreAddress) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_unix_connection(store.url.removeprefix("unix://"))


def request(store: StoreAddress, target: str, *headers: str) -> bytes:
    lines = [f"POST {target} HTTP/1.1", "Host: x", f"X-ClickHouse-Key: {store.token}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


INSERT = "/?query=" + quote("INSERT INTO penstock.points FORMAT Native")


@pytest.mark.smoke
@pytest.mark.heavy
async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    acknowledged: set[int] = set()
    attempted = 0
    for _ in range(4):
        store = await start_store(tmp_path)
        client = store.client()
        try:
            await client.setup()
            stored = await rows_by_key(client)
            assert acknowledged <= stored.keys()
            assert set(stored.values()) <= {2_000}  # whole or absent
            killer = asyncio.create_task(_kill_after(store, acknowledged, len(acknowledged) + 5))
            while True:
                number = attempted = attempted + 1
                try:
                    await client.insert("points", batch(number))
                except Transient:
                    break
                acknowledged.add(number)
            await killer
        finally:
            await client.close()
            await store.kill()
    assert len(acknowledged) >= 20


async def _kill_after(store: StoreHandle, acknowledged: set[int], count: int) -> None:
    while len(acknowledged) < count:
        await asyncio.sleep(0.001)
    await store.kill()


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
async def test_a_body_that_breaks_off_stores_nothing(shared: StoreAddress, framing: str) -> None:
    whole = body(7)
    _, writer = await raw(shared)
    writer.write(request(shared, INSERT, framing))
    if "chunked" in framing:
        writer.write(f"{len(whole):x}\r\n".encode())
    writer.write(whole)
    await writer.drain()
    client = shared.client()
    try:
        await client.insert("points", batch(8))
        writer.close()
        await writer.wait_closed()
        for _ in range(4):  # every seat for inserts is still good
            await client.insert("points", batch(9))
        assert await rows_by_key(client) == {8: 2_000, 9: 2_000}
    finally:
        await client.close()


async def test_a_damaged_body_stores_nothing(shared: StoreAddress) -> None:
    client = shared.client()
    try:
        for damaged in (body(7)[:-1], body(7) + b"x", b"garbage" * 1_000):
            reader, writer = await raw(shared)
            writer.write(request(shared, INSERT, f"Content-Length: {len(damaged)}") + damaged)
            status = (await reader.readline()).split()[1]
            assert status in (b"400", b"404", b"500")
            writer.close()
            await writer.wait_closed()
        reader, writer = await raw(shared)
        lines = ("Content-Encoding: lz4", f"Content-Length: {len(body(7))}")
        writer.write(request(shared, INSERT, *lines) + body(7))
        assert (await reader.readline()).split()[1] == b"501"
        writer.close()
        await writer.wait_closed()
        assert await rows_by_key(client) == {}
    finally:
        await client.close()


async def test_a_chunked_insert_with_its_statement_in_the_body(shared: StoreAddress) -> None:
    reader, writer = await raw(shared)
    data = b"INSERT INTO penstock.points (key, run, lane, step, v, seq) FORMAT Native\n" + body(3)
    writer.write(request(shared, "/", "Transfer-Encoding: chunked"))
    for start in range(0, len(data), 1_000):
        piece = data[start : start + 1_000]
        writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"200"
    writer.close()
    await writer.wait_closed()
    client = shared.client()
    try:
        assert await rows_by_key(client) == {3: 2_000}
    finally:
        await client.close()


async def test_get_may_read_but_not_write(shared: StoreAddress) -> None:
    for sql, expected in (
        ("SELECT 1 + 1", (200, b"2\n")),
        ("SELECT 1 AS x FORMAT JSONEachRow", (200, b'{"x":1}\n')),
        ("DROP TABLE penstock.points", (500, b"Code: 164")),
        ("INSERT INTO penstock.names VALUES ('run', 1, 1, 'x', 1)", (500, b"Code: 164")),
    ):
        reader, writer = await raw(shared)
        head = request(shared, "/?query=" + quote(sql), "Connection: close")
        writer.write(head.replace(b"POST", b"GET", 1))
        reply = await reader.read()
        status, text = int(reply.split()[1]), reply.partition(b"\r\n\r\n")[2]
        assert (status, text[: len(expected[1])]) == expected
        writer.close()
        await writer.wait_closed()


async def test_the_socket_is_for_its_owner_only(store: StoreHandle) -> None:
    path = Path(store.url.removeprefix("unix://"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((store.path / "data").stat().st_mode) == 0o700


async def test_a_second_process_on_the_folder_is_refused(
    store: StoreHandle, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="exited with 73"):
        await start_store(tmp_path, socket_name="second.sock")
    client = store.client()
    try:
        await client.ping()
        assert await rows_by_key(client) == {}
    finally:
        await client.close()


async def test_sigterm_finishes_what_runs(store: StoreHandle) -> None:
    client = store.client()
    try:
        short = asyncio.create_task(
            client.query("SELECT sum(sleepEachRow(0.3)) AS s FROM numbers(5)")
        )
        await until_running(client, "sleepEachRow", 1)
        assert await store.stop() == 0
        assert [*(await short)["s"]] == [0]
    finally:
        await client.close()


@pytest.mark.heavy
async def test_sigterm_does_not_wait_for_ever(store: StoreHandle) -> None:
    client = store.client()
    endless = "SELECT count() AS n FROM numbers(100000000000000) WHERE sipHash64(number) = 3"
    try:
        task = asyncio.create_task(client.query(endless))
        await until_running(client, "sipHash64", 1)
        assert await store.stop() == 0
        with pytest.raises(Transient):
            await task
    finally:
        await client.close()


async def test_a_store_from_before_a_column_gets_it(shared: StoreAddress) -> None:
    client = shared.client()
    try:
        await client.setup()
        await client.execute("ALTER TABLE penstock.batches DROP COLUMN records")
        columns = "run, lane, seq, digest, points"
        await client.execute(f"INSERT INTO penstock.batches ({columns}) SELECT 1, 0, 1, 5, 7")
        await client.setup()
        found = await client.query("SELECT points, records FROM penstock.batches FINAL")
        assert (list(found["points"]), list(found["records"])) == ([7], [0])
    finally:
        await client.close()


async def test_a_newer_schema_is_refused(shared: StoreAddress) -> None:
    client = shared.client()
    try:
        await client.insert(
            "meta", {"name": ["schema_version"], "value": ["999"], "ver": np.array([999], "u8")}
        )
        with pytest.raises(Broken, match="999"):
            await client.setup()
    finally:
        await client.close()


async def test_a_connection_cut_in_the_answer_is_transient(tmp_path: Path) -> None:
    """A server that stops half-way, with and without saying how long the answer is."""
    block = b"\x01\x02\x01x\x05UInt8\x07"  # announces two rows, has one
    for head in (b"Content-Length: 100\r\n", b"Transfer-Encoding: chunked\r\n"):
        chunked = b"%x\r\n%s\r\n" % (len(block), block) if b"chunked" in head else block

        async def serve(
            reader: asyncio.StreamReader,
            writer: asyncio.StreamWriter,
            reply: bytes = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + chunked,
        ) -> None:
            await reader.readuntil(b"SELECT 1")
            writer.write(reply)
            await writer.drain()
            writer.close()

        path = tmp_path / "s"
        server = await asyncio.start_unix_server(serve, path)
        client = ClickHouse(f"unix://{path}")
        try:
            with pytest.raises(Transient):
                await client.query("SELECT 1")
        finally:
            await client.close()
            server.close()
            await server.wait_closed()


async def test_a_port_can_be_served_as_well(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with running_store(tmp_path, port=port) as store:
        client = ClickHouse(f"http://default:{store.token}@127.0.0.1:{port}")
        try:
            await client.setup()
            assert await client.store_id()
        finally:
            await client.close()


async def test_an_insert_that_fails_is_never_acknowledged(tmp_path: Path) -> None:
    """Neither one that the table refuses, nor one that the disk does not take."""
    async with running_store(tmp_path, is_plain=True) as store:
        points = store.client()
        await points.setup()
        await points.insert("points", batch(1))
        constraint = "ALTER TABLE penstock.points {} CONSTRAINT small"
        await points.execute(f"{constraint.format('ADD')} CHECK key < 2")
        with pytest.raises(Broken, match="violated"):
            await points.insert("points", batch(2))
        await points.execute(constraint.format("DROP"))
        folders = [path for path in (tmp_path / "data").rglob("*") if path.is_dir()]
        for folder in folders:
            folder.chmod(0o500)
        with pytest.raises(Transient, match="Permission denied"):
            await points.insert("points", batch(3))
        assert await rows_by_key(points) == {1: 2_000}
        for folder in folders:
            folder.chmod(0o700)
        await points.insert("points", batch(4))
        assert await rows_by_key(points) == {1: 2_000, 4: 2_000}
        await points.close()


async def test_inserts_that_are_broken_off_do_not_end_up_elsewhere(shared: StoreAddress) -> None:
    """Many at once, half of them cancelled at some point: what is stored is whole and its own."""
    points = shared.client()
    await points.setup()
    inserts = [asyncio.create_task(points.insert("points", batch(n, 20_000))) for n in range(40)]
    for number in range(len(inserts)):
        await asyncio.sleep(0.003)
        if number % 2:
            inserts[number - 1].cancel()
    done = await asyncio.gather(*inserts, return_exceptions=True)
    kept = {number for number, result in enumerate(done) if result is None}
    stored = await rows_by_key(points)
    assert kept <= stored.keys()
    assert set(stored.values()) == {20_000}
    mixed = await points.query("SELECT count() AS n FROM penstock.points WHERE v != key")
    assert int(mixed["n"][0]) == 0
    await points.close()
