"""A project over its quota costs others next to nothing, and loses nothing."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest_asyncio
from support.stack import Stack, running_stack

from penstock.wire import CONTENT_TYPE, Batch, Frame, encode_batch, join_batches
from penstock_common.http.auth import mint_key

QUOTA = 100.0
ROWS = 50


@pytest_asyncio.fixture(loop_scope="function")
async def stack(tmp_path: Path):  # type: ignore[no-untyped-def]
    async with running_stack(tmp_path, workers=0, project_points_per_s=QUOTA) as running:
        yield running


def batch(project: str, seq: int = 1, *, rows: int = ROWS, compress: bool = False) -> bytes:
    steps = b"".join(n.to_bytes(8, "little") for n in range(rows))
    noise = random.Random(seq).randbytes(8 * rows)  # stays large when it is compressed
    frame = Frame(["loss"], steps, bytes(8 * rows), noise)
    return encode_batch(Batch(project, "run", "writer", seq, frames=[frame]), compress=compress)


async def put_in_debt(stack: Stack, project: str, seconds: float = 60.0) -> None:
    """With one batch that is larger than the burst."""
    status, _ = await stack.post(batch(project, rows=int(QUOTA * (10 + seconds))))
    assert status == 202


class Connection:
    """A plain HTTP connection, to send requests in parts."""

    def __init__(
        self, key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.key = key
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, stack: Stack) -> Connection:
        host, port = stack.urls[0].removeprefix("http://").split(":")
        return cls(stack.api_key, *await asyncio.open_connection(host, int(port)))

    async def send(self, body: bytes, sent: int) -> None:
        head = (
            f"POST /v1/batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.key}\r\n"
            f"Content-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.writer.write(head.encode() + body[:sent])
        await self.writer.drain()

    async def answer(self) -> int:
        """The status of the next answer."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)
        length = next(
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        )
        await self.reader.readexactly(length)
        return int(head[9:12])


async def test_a_debtor_is_refused_before_its_body_is_received(stack: Stack) -> None:
    await put_in_debt(stack, "noisy")
    connection = await Connection.open(stack)
    large = join_batches([batch("noisy", 2, rows=100_000)])
    await connection.send(large, 2_000)
    assert await connection.answer() == 429
    # The connection stays: the rest of the body is thrown away.
    connection.writer.write(large[2_000:])
    quiet = join_batches([batch("quiet")])
    await connection.send(quiet, len(quiet))
    assert await connection.answer() == 202
    connection.writer.close()


async def test_a_debtor_s_batch_is_not_decoded(stack: Stack) -> None:
    """Else the damage at its end would be what is answered."""
    for compress in (False, True):
        project = f"noisy-{compress}"
        damaged = batch(project, 2, rows=50_000, compress=compress)[:-9] + b"\xc1" * 9
        assert (await stack.post(damaged))[0] == 400
        await put_in_debt(stack, project)
        assert (await stack.post(damaged))[0] == 429


async def test_an_admin_s_and_a_reader_s_key_are_judged_as_before(stack: Stack) -> None:
    await put_in_debt(stack, "noisy")
    for scopes, expected in (({"admin"}, 429), ({"read"}, 403)):
        key, text = mint_key("user", "local", frozenset(scopes), stack.settings["secret"])
        await stack.catalog.add_api_key(key, "test")
        headers = {"Authorization": f"Bearer {text}"}
        assert (await stack.post(batch("noisy", 2), headers=headers))[0] == expected


async def test_the_file_stream_is_refused_before_its_body_is_read(stack: Stack) -> None:
    await put_in_debt(stack, "noisy")
    url = f"{stack.urls[0]}/files/local/noisy/run/file_stream"
    async with stack.session.post(url, data=b"no JSON at all") as reply:
        assert reply.status == 429
    async with stack.session.post(url.replace("noisy", "quiet"), data=b"no JSON") as reply:
        assert reply.status not in (200, 429)


async def test_one_that_ignores_retry_after_is_answered_in_turn(stack: Stack) -> None:
    """With 20 connections that ask again at once: 20 answers, and 20 more a second."""
    await put_in_debt(stack, "noisy", seconds=300)
    connections = [await Connection.open(stack) for _ in range(20)]
    body = join_batches([batch("noisy", 2)])
    started = time.monotonic()
    refusals = 0

    async def insist(connection: Connection) -> None:
        nonlocal refusals
        while time.monotonic() < started + 2.0:
            await connection.send(body, len(body))
            assert await connection.answer() == 429
            refusals += 1

    hostile = asyncio.gather(*map(insist, connections))
    for seq in range(1, 11):  # and others go on meanwhile
        assert (await stack.post(batch("quiet", seq, rows=1)))[0] == 202
    await hostile
    took_s = time.monotonic() - started
    assert 20 < refusals <= 20 + 20 * took_s + len(connections)
    for connection in connections:
        connection.writer.close()


async def test_what_was_refused_is_taken_later_once(stack: Stack) -> None:
    """A client keeps refused batches: sent again until taken, each is queued exactly once."""
    left = dict.fromkeys(range(1, 31))
    refused = 0
    async with asyncio.timeout(60):
        while left:
            seq = next(iter(left))
            status, answer = await stack.post(batch("noisy", seq))
            if status == 202:
                del left[seq]
            else:
                assert (status, answer["error"]["code"]) == (429, "quota")
                refused += 1
                await asyncio.sleep(0.05)
    assert refused
    assert await stack.backlog() == 30


async def test_bodies_that_stall_take_half_of_the_room_of_one_key(tmp_path: Path) -> None:
    """Else a few slow uploads of one tenant, each stating the largest size, would keep out everyone."""
    async with running_stack(tmp_path, workers=0) as stack:
        key, other = mint_key("user", "local", frozenset({"write"}), stack.settings["secret"])
        await stack.catalog.add_api_key(key, "other")
        stalled = [await Connection.open(stack) for _ in range(8)]
        for connection in stalled:
            await connection.send(bytes(15 * 2**20), 100)
        # 64 MiB in all: two are read, the others are refused at once.
        waiting = {asyncio.create_task(connection.answer()) for connection in stalled}
        async with asyncio.timeout(10):
            while len(waiting) > 2:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                assert {each.result() for each in done} == {503}
        headers = {"Authorization": f"Bearer {other}"}
        large = [batch("quiet", seq, rows=100_000) for seq in range(1, 4)]
        assert (await stack.post(*large, headers=headers))[0] == 202
        for each in waiting:
            each.cancel()
        for connection in stalled:
            connection.writer.close()
