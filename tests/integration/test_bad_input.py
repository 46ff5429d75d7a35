"""Bad input: each malformed body gets its 4xx with a message that helps, and nothing is stored."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import msgpack
import psutil
import pytest
import pytest_asyncio
import zstandard
from support.stack import Stack, running_stack

from penstock.wire import CONTENT_TYPE, join_batches
from penstock_common.http.auth import mint_key

JSON = "application/json"


def column(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


def frame(**changes: Any) -> dict[str, Any]:
    good = {"keys": ["a"], "steps": column(1), "times": column(1), "values": floats(1.0)}
    return {**good, **changes}


def batch(**changes: Any) -> bytes:
    good = {
        "v": 1, "project": "bad", "run": "bad", "writer": "w", "writer_started": 1, "rank": 0,
        "seq": 1, "acked": 0, "sent_at": 1, "frames": [frame()], "records": [], "client": {},
    }  # fmt: skip
    fields = {**good, **changes}
    packed: bytes = msgpack.packb({k: v for k, v in fields.items() if v is not ...})
    return packed


def framed(raw: bytes) -> bytes:
    return join_batches([raw])


def zstd(raw: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(raw)


def bomb() -> bytes:
    """Small on the wire, 100 MiB when unpacked, without saying so in its header."""
    writer = zstandard.ZstdCompressor(level=3, write_content_size=False).compressobj()
    parts = [writer.compress(bytes(2**20)) for _ in range(100)]
    return b"".join([*parts, writer.flush()])


def value_record(**changes: Any) -> list[dict[str, Any]]:
    return [
        {"t": "value", "key": "k", "step": 1, "time": 1, "kind": "string", "json": '"x"', **changes}
    ]


ENCODED: dict[str, tuple[bytes, int, str]] = {
    # name: (body, status, a word of the message)
    "empty body": (b"", 400, "length"),
    "length cut short": (b"\x01\x00", 400, "length"),
    "length past the end": (struct.pack("<I", 99) + b"abc", 400, "99 bytes"),
    "empty batch": (struct.pack("<I", 0), 400, "0 bytes"),
    "second batch broken": (framed(batch()) + b"\xff\xff\xff\xff", 400, "claims"),
    "not msgpack": (framed(b"\xc1\xc1\xc1"), 400, "msgpack"),
    "cut msgpack": (framed(batch()[:-3]), 400, "msgpack"),
    "bytes after the map": (framed(batch() + b"\x00"), 400, "msgpack"),
    "a list, not a map": (framed(msgpack.packb([1, 2])), 400, "map"),
    "2^32 array header": (framed(b"\xdd\xff\xff\xff\xff"), 400, "4294967295"),
    "2^32 map header": (framed(b"\xdf\xff\xff\xff\xff"), 400, "4294967295"),
    "2^32 bin header": (framed(b"\x81\xa1v\xc6\xff\xff\xff\xff"), 400, "msgpack"),
    "2^32 str header": (framed(b"\x81\xa1v\xdb\xff\xff\xff\xff"), 400, "msgpack"),
    "deep nesting": (framed(b"\x91" * 200_000), 400, "msgpack"),
    "nested maps bomb": (framed(b"\xdc\xff\xff" + (b"\xdc\x00\x10" + b"\x80" * 16) * 0xFFFF), 413, "elements"),
    "extension type": (framed(b"\x81\xa1v\xc7\x01\x05\x00"), 400, "msgpack"),
    "integer map key": (framed(b"\x81\x01\x02"), 400, "msgpack"),
    "non-UTF-8 key": (framed(batch().replace(b"\xa1a\xa5steps", b"\xa1\xff\xa5steps")), 400, "UTF-8"),
    "zstd cut short": (framed(zstd(batch())[:-4]), 400, "zstd"),
    "zstd damaged": (framed(zstd(batch())[:6] + b"\x00" * 30), 400, "zstd"),
    "zstd with bytes after": (framed(zstd(batch()) + b"more"), 400, "zstd"),
    "zstd bomb, honest": (framed(zstd(bytes(200 * 2**20))), 413, "decompression"),
    "zstd bomb, silent": (framed(bomb()), 413, "decompression"),
    "unknown version": (framed(batch(v=99)), 415, "99"),
    "version true": (framed(batch(v=True)), 415, "version"),
    "no version": (framed(batch(v=...)), 415, "version"),
    "no project": (framed(batch(project=...)), 400, "project"),
    "project a number": (framed(batch(project=7)), 400, "project"),
    "project with a slash": (framed(batch(project="a/b")), 400, "slash"),
    "project dots": (framed(batch(project="..")), 400, "project"),
    "run empty": (framed(batch(run="")), 400, "run"),
    "run too long": (framed(batch(run="x" * 200)), 400, "128"),
    "run with a control character": (framed(batch(run="a\nb")), 400, "control"),
    "no writer": (framed(batch(writer=...)), 400, "writer"),
    "seq zero": (framed(batch(seq=0)), 400, "seq"),
    "seq a float": (framed(batch(seq=1.5)), 400, "seq"),
    "seq too large": (framed(batch(seq=2**32)), 400, "seq"),
    "acked not below seq": (framed(batch(acked=1)), 400, "acked"),
    "rank negative": (framed(batch(rank=-1)), 400, "rank"),
    "frames a map": (framed(batch(frames={})), 400, "frames"),
    "frame a list": (framed(batch(frames=[[]])), 400, "frames[0]"),
    "frame without keys": (framed(batch(frames=[frame(keys=[])])), 400, "keys"),
    "key a number": (framed(batch(frames=[frame(keys=[3])])), 400, "string"),
    "key empty": (framed(batch(frames=[frame(keys=[""])])), 400, "key"),
    "key too long": (framed(batch(frames=[frame(keys=["k" * 600])])), 400, "512"),
    "key with a control character": (framed(batch(frames=[frame(keys=["a\x00"])])), 400, "control"),
    "key twice": (framed(batch(frames=[frame(keys=["a", "a"], values=floats(1, 2))])), 400, "twice"),
    "too many keys": (framed(batch(frames=[frame(keys=[f"k{i}" for i in range(20_001)])])), 413, "20001"),
    "no rows": (framed(batch(frames=[frame(steps=b"", times=b"", values=b"")])), 400, "rows"),
    "steps a list": (framed(batch(frames=[frame(steps=[1])])), 400, "bin"),
    "steps of 7 bytes": (framed(batch(frames=[frame(steps=b"1234567")])), 400, "steps"),
    "short times": (framed(batch(frames=[frame(times=b"")])), 400, "times"),
    "short values": (framed(batch(frames=[frame(keys=["a", "b"])])), 400, "values"),
    "long values": (framed(batch(frames=[frame(values=floats(1, 2))])), 400, "values"),
    "step 2^53": (framed(batch(frames=[frame(steps=column(2**53))])), 400, "2^53"),
    "step -2^63": (framed(batch(frames=[frame(steps=column(-(2**63)))])), 400, "2^53"),
    "ints too short": (framed(batch(frames=[frame(ints=b"")])), 400, "ints"),
    "records a map": (framed(batch(records={})), 400, "records"),
    "record without a type": (framed(batch(records=[{"u": "magic"}])), 400, "records[0]"),
    "record of a type that is no text": (framed(batch(records=[{"t": ["run"]}])), 400, "records[0]"),
    "name a number": (framed(batch(records=[{"t": "run", "name": 5}])), 400, "name"),
    "tags a map": (framed(batch(records=[{"t": "run", "tags": {}}])), 400, "tags"),
    "exit code a text": (framed(batch(records=[{"t": "state", "state": "failed", "exit_code": "1"}])), 400, "exit_code"),
    "alert's title a list": (framed(batch(records=[{"t": "alert", "time": 1, "title": []}])), 400, "title"),
    "value not JSON": (framed(batch(records=value_record(json="[1,"))), 400, "json"),
    "config not a map": (framed(batch(records=[{"t": "config", "update": 3}])), 400, "update"),
    "state unknown": (framed(batch(records=[{"t": "state", "state": "happy"}])), 400, "state"),
    "value without json": (framed(batch(records=value_record(json=None))), 400, "json"),
    "value at no step": (framed(batch(records=value_record(step="1"))), 400, "step"),
    "console without text": (framed(batch(records=[{"t": "console", "line": 1, "time": 1, "stream": "o"}])), 400, "text"),
    "client a list": (framed(batch(client=[])), 400, "client"),
}  # fmt: skip

ROWS: dict[str, tuple[bytes, int, str]] = {
    "not JSON": (b"{", 400, "JSON"),
    "NaN as a step": (b'{"project": "p", "run": "r", "rows": [{"step": NaN, "a": 1}]}', 400, "JSON"),
    "a list": (b"[]", 400, "object"),
    "invalid UTF-8": (b'{"project": "\xff"}', 400, "JSON"),
    "no rows": (b'{"project": "p", "run": "r"}', 400, "body is empty"),
    "rows an object": (b'{"project": "p", "run": "r", "rows": {}}', 400, "rows"),
    "row a number": (b'{"project": "p", "run": "r", "rows": [1]}', 400, "rows[0]"),
    "no step": (b'{"project": "p", "run": "r", "rows": [{"a": 1}]}', 400, "step"),
    "step a float": (b'{"project": "p", "run": "r", "rows": [{"step": 1.5, "a": 1}]}', 400, "step"),
    "step a string": (b'{"project": "p", "run": "r", "rows": [{"step": "1", "a": 1}]}', 400, "step"),
    "step too large": (b'{"project": "p", "run": "r", "rows": [{"step": 9007199254740992, "a": 1}]}', 400, "2^53"),
    "time a string": (b'{"project": "p", "run": "r", "rows": [{"step": 1, "_timestamp": "now"}]}', 400, "_timestamp"),
    "unknown field": (b'{"project": "p", "run": "r", "row": []}', 400, "row"),
    "no project": (b'{"run": "r", "rows": [{"step": 1, "a": 1}]}', 400, "project"),
    "huge integer": (b'{"project": "p", "run": "r", "rows": [{"step": 1, "a": 1' + b"0" * 400 + b"}]}", 400, ""),
    "tags a string": (b'{"project": "p", "run": "r", "tags": "x"}', 400, "tags"),
    "state unknown": (b'{"project": "p", "run": "r", "state": "?"}', 400, "state"),
    "config a list": (b'{"project": "p", "run": "r", "config": []}', 400, "config"),
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("bad"), workers=0) as running:
        yield running


async def refused(
    stack: Stack, body: bytes, content_type: str, status: int, word: str, **headers: str
) -> None:
    got, answer = await stack.post_raw(body, content_type=content_type, headers=headers)
    assert got == status, answer
    error = answer["error"]
    assert error["code"]
    assert len(error["message"]) > 10
    assert word in json.dumps(error, ensure_ascii=False)
    assert await stack.backlog() == 0


@pytest.mark.parametrize("name", ENCODED)
@pytest.mark.asyncio(loop_scope="module")
async def test_malformed_batches_are_refused(stack: Stack, name: str) -> None:
    body, status, word = ENCODED[name]
    await refused(stack, body, CONTENT_TYPE, status, word)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.asyncio(loop_scope="module")
async def test_malformed_rows_are_refused(stack: Stack, name: str) -> None:
    body, status, word = ROWS[name]
    await refused(stack, body, JSON, status, word)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_body_over_the_limit_is_refused_before_it_is_read(stack: Stack) -> None:
    await refused(stack, bytes(17 * 2**20), CONTENT_TYPE, 413, "bytes in the body")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_chunked_body_over_the_limit_is_refused(stack: Stack) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield bytes(2**20)

    url, headers = f"{stack.urls[0]}/v1/batches", {"Content-Type": CONTENT_TYPE}
    async with stack.session.post(url, data=pieces(), headers=headers) as reply:
        assert reply.status == 413


@pytest.mark.parametrize("path", ["/v1/runs", "/v1/heartbeats"])
@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_read_as_a_whole_may_have_four_mebibytes(stack: Stack, path: str) -> None:
    body = io.BytesIO(json.dumps({"project": "p", "config": {"a": "x" * (4 * 2**20)}}).encode())
    url, headers = f"{stack.urls[0]}{path}", {"Content-Type": JSON}
    async with stack.session.post(url, data=body, headers=headers) as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Authorization": ""}, 401, "no_key"),
        ({"Authorization": "Basic dTpw"}, 401, "no_key"),
        ({"Authorization": "Bearer nonsense"}, 401, "malformed_key"),
        ({"Authorization": "Bearer penstock_user_" + "a" * 59}, 401, "malformed_key"),
        ({"Content-Type": "text/plain"}, 415, "unknown_content_type"),
        ({"Content-Encoding": "gzip"}, 415, "unknown_encoding"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_wrong_headers_are_refused(
    stack: Stack, headers: dict[str, str], status: int, code: str
) -> None:
    url = f"{stack.urls[0]}/v1/batches"
    sent = {"Content-Type": CONTENT_TYPE, **headers}
    async with stack.session.post(url, data=framed(batch()), headers=sent) as reply:
        answer = await reply.json()
        assert (reply.status, answer["error"]["code"]) == (status, code)
        assert answer["error"]["hint"]
    assert await stack.backlog() == 0


@pytest.mark.asyncio(loop_scope="module")
async def test_an_unknown_key_with_a_valid_checksum_is_refused(stack: Stack) -> None:
    _, text = mint_key("user", "local", frozenset({"write"}), "another pepper")
    headers = {"Authorization": f"Bearer {text}"}
    got, answer = await stack.post(batch(), headers=headers)
    assert (got, answer["error"]["code"]) == (401, "unknown_key")


@pytest.mark.asyncio(loop_scope="module")
async def test_another_entity_is_refused(stack: Stack) -> None:
    got, answer = await stack.post(batch(entity="somebody"))
    assert (got, answer["error"]["code"]) == (403, "forbidden")
    assert await stack.backlog() == 0


@pytest.mark.asyncio(loop_scope="module")
async def test_one_bad_batch_keeps_the_whole_body_out(stack: Stack) -> None:
    got, _ = await stack.post(batch(), batch(seq=2, run="a/b"))
    assert got == 400
    assert await stack.backlog() == 0


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.smoke
@pytest.mark.heavy
async def test_refusals_do_not_grow_memory(stack: Stack) -> None:
    hostile = [ENCODED[name][0] for name in ("nested maps bomb", "zstd bomb, silent")]
    url, headers = f"{stack.urls[0]}/v1/batches", {"Content-Type": CONTENT_TYPE}

    async def send_all(times: int) -> int:
        for _ in range(times):
            for body in hostile:
                async with stack.session.post(url, data=io.BytesIO(body), headers=headers) as reply:
                    assert reply.status == 413
        return int(psutil.Process().memory_info().rss)

    settled = await send_all(3)
    assert await send_all(10) - settled < 32 * 2**20
