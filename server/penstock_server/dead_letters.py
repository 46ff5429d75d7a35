"""The commands `penstock dead list | show | replay | drop`: dead letters (batches that could not be
processed) and quarantined writers (parked because their batches keep failing)."""

# Modules that read the queue are loaded only by these commands.
# ruff: noqa: PLC0415

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.command_codes import CommandCode
from penstock.error_codes import ErrorCode
from penstock.errors import Rejected, Transient
from penstock_common.process.settings import ServerSettings, load
from penstock_common.queue.redis_keys import SHARDS, RedisKeys
from penstock_server.datafolder import DataFolder
from penstock_server.place_arguments import add_place_arguments

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from penstock_common.queue.entries import Entry
    from penstock_server.parked_writers import ParkedWriter

__all__ = ["add_dead_letter_commands"]

_PAGE_SIZE = 100


def add_dead_letter_commands(subparsers: Any, default_data: Path) -> None:
    """Add the command `dead`."""
    dead = subparsers.add_parser(
        "dead", help="manage dead letters: batches that could not be processed"
    )
    actions = dead.add_subparsers(metavar="ACTION", required=True)
    texts = {
        "list": "list dead letters and parked writers with the reasons",
        "show": "show the content of one",
        "replay": "put them back into the queue",
        "drop": "delete them permanently",
    }
    for action, text in texts.items():
        parser = actions.add_parser(action, help=text)
        add_place_arguments(
            parser,
            default_data,
            data="data folder of a running `penstock up`",
            settings="the queue in PENSTOCK_REDIS_URL",
        )
        if action == "show":
            parser.add_argument("id", metavar="ID", help="an id printed by `penstock dead list`")
        if action in ("replay", "drop"):
            which = parser.add_argument_group("which")
            which.add_argument("ids", metavar="ID", nargs="*")
            which.add_argument("--all", action="store_true", help="all of them")
        if action == "drop":
            parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
        parser.set_defaults(run=_run, action=action)


def _run(arguments: argparse.Namespace) -> int:
    action = arguments.action
    if action in ("replay", "drop") and bool(arguments.ids) == arguments.all:
        raise Rejected(f"give the ids to {action}, or --all", code=CommandCode.BAD_ARGUMENT)
    if action == "drop" and arguments.all and not arguments.yes and not _is_sure():
        _say("Nothing was dropped.")
        return 1
    return asyncio.run(_act(arguments))


async def _act(arguments: argparse.Namespace) -> int:
    from redis.exceptions import RedisError

    try:
        async with _queue(arguments) as (redis, keys):
            return await _ACTIONS[arguments.action](redis, keys, arguments)
    except (RedisError, OSError) as error:
        raise Transient(
            f"the queue cannot be reached: {error}", code=ErrorCode.UNAVAILABLE
        ) from error


@asynccontextmanager
async def _queue(arguments: argparse.Namespace) -> AsyncIterator[tuple[Redis, RedisKeys]]:
    from penstock_common.queue.connection import connect

    settings = load(ServerSettings, environ=os.environ)
    url, prefix = settings.redis_url, settings.prefix
    if not arguments.settings:
        folder = DataFolder(arguments.data)
        if not folder.state.exists():
            raise Rejected(
                f"Penstock is not running on {folder.root}", code=CommandCode.NOT_RUNNING
            )
        url = f"unix://{folder.socket('redis.sock')}"
    redis = connect(url, timeout_s=10)
    try:
        yield redis, RedisKeys(prefix)
    finally:
        await redis.aclose()


def _is_sure() -> bool:
    _say(
        "This deletes every dead letter and all batches of parked writers on the server.\n"
        "Clients keep their own copies in `rejected/`, in the spool of each run."
    )
    sys.stdout.write("Drop them all? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def _list(redis: Redis, keys: RedisKeys, _: argparse.Namespace) -> int:
    count = 0
    async for letter in _dead_letters(redis, keys):
        count += 1
        run, writer = letter.writer.rsplit("/", 1)
        received, why = _time(letter.received), _printable(letter.reason)
        _say(f"{_id(letter)}  {received}  {run}  {writer} #{letter.seq}  {why}")
    for parked in await _parked(redis, keys):
        count += 1
        size = f"{parked.batches} batches, {parked.bytes} bytes"
        _say(f"{parked.name}  parked since {_time(parked.since_us)}  {size}  {_why(parked)}")
    if not count:
        _say("No dead letters or parked writers.")
    return 0


async def _show(redis: Redis, keys: RedisKeys, arguments: argparse.Namespace) -> int:
    parked = await _parked(redis, keys, arguments.id)
    if parked:
        _show_parked(parked[0])
        return 0
    letter = await _find(redis, keys, arguments.id)
    run, writer = letter.writer.rsplit("/", 1)
    _table(
        ("id", _id(letter)), ("run", run), ("writer", writer), ("number", letter.seq),
        ("received", _time(letter.received)), ("bytes", len(letter.raw)),
        ("reason", _printable(letter.reason)),
    )  # fmt: skip
    for line in _content(letter.raw):
        _say(line)
    return 0


def _show_parked(parked: ParkedWriter) -> None:
    run, writer = parked.name.rsplit("/", 1)
    _table(
        ("id", parked.name), ("run", run), ("writer", writer), ("batches", parked.batches),
        ("parked", _time(parked.since_us)), ("bytes", parked.bytes), ("reason", _why(parked)),
    )  # fmt: skip


def _table(*rows: tuple[str, object]) -> None:
    for what, value in rows:
        _say(f"{what:<9} {value}")


def _content(raw: bytes) -> list[str]:
    """A batch's content, one line per frame and record."""
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


async def _replay(redis: Redis, keys: RedisKeys, arguments: argparse.Namespace) -> int:
    from penstock_common.queue.scripts import REPLAY

    letters, writers = await _named(redis, keys, arguments)
    count = 0
    for letter in letters:
        names = (keys.dead(letter.shard), keys.stream(letter.shard))
        count += await redis.eval(REPLAY, 2, *names, letter.id) is not None
    for parked in writers:
        count += await parked.unpark(redis, keys)
    _say(f"{count} are in the queue again.")
    return 0


async def _drop(redis: Redis, keys: RedisKeys, arguments: argparse.Namespace) -> int:
    letters, writers = await _named(redis, keys, arguments)
    for letter in letters:
        await redis.xdel(keys.dead(letter.shard), letter.id)
        _say(f"{_id(letter)} was deleted.")
    for parked in writers:
        count = await parked.unpark(redis, keys, drop=True)
        _say(f"{parked.name}: the worker will drop its {count} batches.")
    return 0


async def _named(
    redis: Redis, keys: RedisKeys, arguments: argparse.Namespace
) -> tuple[list[Entry], list[ParkedWriter]]:
    """The selected items, listed before the first is moved, so that none is taken twice if it fails
    again."""
    if arguments.all:
        letters = [letter async for letter in _dead_letters(redis, keys)]
        return letters, await _parked(redis, keys)
    letters, writers = [], []
    for name in arguments.ids:
        found = await _parked(redis, keys, name)
        writers += found
        if not found:
            letters.append(await _find(redis, keys, name))
    return letters, writers


_ACTIONS = {"list": _list, "show": _show, "replay": _replay, "drop": _drop}


async def _parked(redis: Redis, keys: RedisKeys, name: str = "") -> list[ParkedWriter]:
    from penstock_server.parked_writers import parked_writers

    return [each for each in await parked_writers(redis, keys) if name in ("", each.name)]


async def _dead_letters(redis: Redis, keys: RedisKeys) -> AsyncIterator[Entry]:
    from penstock_common.queue.entries import decode

    for shard in range(SHARDS):
        start = "-"
        while found := await _range(redis, keys.dead(shard), start, "+"):
            for entry_id, fields in found:
                yield decode(shard, entry_id, fields)
            start = f"({found[-1][0].decode()}"


async def _range(redis: Redis, name: str, start: str, end: str) -> list[Any]:
    return list(await redis.xrange(name, start, end, count=_PAGE_SIZE) or [])


async def _find(redis: Redis, keys: RedisKeys, name: str) -> Entry:
    from penstock_common.queue.entries import decode

    shard, _, entry_id = name.partition(":")
    parts = entry_id.split("-")
    if shard.isdecimal() and int(shard) < SHARDS and len(parts) == 2 and "".join(parts).isdecimal():
        for found_id, fields in await _range(redis, keys.dead(int(shard)), entry_id, entry_id):
            return decode(int(shard), found_id, fields)
    raise Rejected(f"there is no dead letter or parked writer {name!r}", code=CommandCode.NO_LETTER)


def _id(letter: Entry) -> str:
    """Its id in the commands."""
    return f"{letter.shard}:{letter.id.decode()}"


def _why(parked: ParkedWriter) -> str:
    return _printable(parked.reason)


def _time(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat(timespec="seconds")


def _printable(text: str) -> str:
    """Replace line breaks and terminal control characters: reasons may quote user data."""
    return "".join(each if each.isprintable() else " " for each in text)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
