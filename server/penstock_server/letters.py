"""The commands `penstock dead list | show | replay | drop`: batches that could not be processed."""

# What reads the queue is loaded only by these commands.
# ruff: noqa: PLC0415

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.errors import Rejected, Transient
from penstock_common.keys import SHARDS, Keys
from penstock_common.settings import ServerSettings, load
from penstock_server.datafolder import DataFolder

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["add_dead_command"]

_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class _Letter:
    shard: int
    id: bytes
    writer: str
    seq: int
    raw: bytes
    received_us: int
    reason: str

    @property
    def name(self) -> str:
        """What the commands call it."""
        return f"{self.shard}:{self.id.decode()}"

    @property
    def received(self) -> str:
        at = datetime.fromtimestamp(self.received_us / 1e6, UTC)
        return at.isoformat(timespec="seconds")


def add_dead_command(subparsers: Any, default_data: Path) -> None:
    """Add `dead`."""
    dead = subparsers.add_parser("dead", help="look at batches that could not be processed")
    actions = dead.add_subparsers(metavar="ACTION", required=True)
    texts = {
        "list": "say which there are, and why",
        "show": "say what is in one",
        "replay": "put them back into the queue",
        "drop": "delete one for good",
    }
    for action, text in texts.items():
        parser = actions.add_parser(action, help=text)
        place = parser.add_mutually_exclusive_group()
        place.add_argument(
            "--data", type=Path, default=default_data,
            help="data folder of a running `penstock up` (%(default)s)",
        )  # fmt: skip
        place.add_argument(
            "--settings", action="store_true", help="the queue that PENSTOCK_REDIS_URL names"
        )
        if action in ("show", "drop"):
            parser.add_argument("id", metavar="ID", help="as `penstock dead list` says")
        if action == "replay":
            which = parser.add_argument_group("which")
            which.add_argument("ids", metavar="ID", nargs="*")
            which.add_argument("--all", action="store_true", help="all that there are")
        parser.set_defaults(run=_run, action=action)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.action == "replay" and bool(arguments.ids) == arguments.all:
        raise Rejected("name the letters to replay, or --all", code="bad_argument")
    return asyncio.run(_act(arguments))


async def _act(arguments: argparse.Namespace) -> int:
    from redis.exceptions import RedisError

    try:
        async with _queue(arguments) as (redis, keys):
            return await _ACTIONS[arguments.action](redis, keys, arguments)
    except (RedisError, OSError) as error:
        raise Transient(f"the queue cannot be reached: {error}") from error


@asynccontextmanager
async def _queue(arguments: argparse.Namespace) -> AsyncIterator[tuple[Redis, Keys]]:
    from penstock_common.redis import connect

    settings = load(ServerSettings, environ=os.environ)
    url, prefix = settings.redis_url, settings.prefix
    if not arguments.settings:
        folder = DataFolder(arguments.data)
        if not folder.state.exists():
            raise Rejected(
                f"Penstock does not run on {folder.root}",
                code="not_running",
                hint="Start it with `penstock up`: the letters are in its queue.",
            )
        url = f"unix://{folder.socket('redis.sock')}"
    redis = connect(url, timeout_s=10)
    try:
        yield redis, Keys(prefix)
    finally:
        await redis.aclose()


async def _list(redis: Redis, keys: Keys, _: argparse.Namespace) -> int:
    count = 0
    async for letter in _letters(redis, keys):
        count += 1
        run, writer = letter.writer.rsplit("/", 1)
        _say(f"{letter.name}  {letter.received}  {run}  {writer} #{letter.seq}  {letter.reason}")
    if not count:
        _say("There are none.")
    return 0


async def _show(redis: Redis, keys: Keys, arguments: argparse.Namespace) -> int:
    letter = await _find(redis, keys, arguments.id)
    run, writer = letter.writer.rsplit("/", 1)
    for what, value in (
        ("id", letter.name), ("run", run), ("writer", writer), ("number", letter.seq),
        ("received", letter.received), ("bytes", len(letter.raw)), ("reason", letter.reason),
    ):  # fmt: skip
        _say(f"{what:<9} {value}")
    for line in _content(letter.raw):
        _say(line)
    return 0


def _content(raw: bytes) -> list[str]:
    """What a batch holds, one line for each frame and record."""
    from penstock.wire import decode_batch

    try:
        batch = decode_batch(raw, strict=False)
    except Rejected as error:
        return [f"content   cannot be read: {error}"]
    lines = [f"points    {batch.points}"]
    for frame in batch.frames:
        steps = memoryview(frame.steps).cast("q")
        lines.append(f"frame     steps {min(steps)} to {max(steps)} of {', '.join(frame.keys)}")
    return [*lines, *(f"record    {record}" for record in batch.records)]


async def _replay(redis: Redis, keys: Keys, arguments: argparse.Namespace) -> int:
    from penstock_common.scripts import REPLAY

    if arguments.all:
        # Known before the first is put back: one that fails again is not taken twice.
        letters = [letter async for letter in _letters(redis, keys)]
    else:
        letters = [await _find(redis, keys, name) for name in arguments.ids]
    count = 0
    for letter in letters:
        names = (keys.dead(letter.shard), keys.stream(letter.shard))
        count += await redis.eval(REPLAY, 2, *names, letter.id) is not None
    _say(f"{count} are in the queue again.")
    return 0


async def _drop(redis: Redis, keys: Keys, arguments: argparse.Namespace) -> int:
    letter = await _find(redis, keys, arguments.id)
    await redis.xdel(keys.dead(letter.shard), letter.id)
    _say(f"{letter.name} is gone.")
    return 0


_ACTIONS = {"list": _list, "show": _show, "replay": _replay, "drop": _drop}


async def _letters(redis: Redis, keys: Keys) -> AsyncIterator[_Letter]:
    for shard in range(SHARDS):
        start = "-"
        while found := await _range(redis, keys.dead(shard), start, "+"):
            for entry_id, fields in found:
                yield _letter(shard, entry_id, fields)
            start = f"({found[-1][0].decode()}"


async def _range(redis: Redis, name: str, start: str, end: str) -> list[Any]:
    return list(await redis.xrange(name, start, end, count=_AT_ONCE) or [])


async def _find(redis: Redis, keys: Keys, name: str) -> _Letter:
    shard, _, entry_id = name.partition(":")
    parts = entry_id.split("-")
    if shard.isdecimal() and int(shard) < SHARDS and len(parts) == 2 and "".join(parts).isdecimal():
        for found_id, fields in await _range(redis, keys.dead(int(shard)), entry_id, entry_id):
            return _letter(int(shard), found_id, fields)
    raise Rejected(
        f"there is no letter {name!r}",
        code="no_letter",
        hint="`penstock dead list` says which there are.",
    )


def _letter(shard: int, entry_id: bytes, fields: dict[bytes, bytes]) -> _Letter:
    return _Letter(
        shard,
        entry_id,
        fields[b"w"].decode(),
        int(fields[b"s"]),
        fields[b"b"],
        int(fields[b"t"]),
        _printable(fields.get(b"reason", b"").decode(errors="replace")),
    )


def _printable(text: str) -> str:
    """On one line, and nothing that a terminal would obey: reasons may quote what was sent."""
    return "".join(each if each.isprintable() else " " for each in text)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
