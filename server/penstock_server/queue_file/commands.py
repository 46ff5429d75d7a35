"""The commands in Redis' append-only file, and how far the file is valid.

It is a sequence of RESP arrays. The effects of one event are between MULTI and EXEC, so a file may be
cut after any command outside such a pair, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from mmap import mmap
from typing import NamedTuple

__all__ = ["RedisCommand", "encode", "readable_commands", "sound_end"]

Data = bytes | mmap

_MAX_DIGITS = 12
_MAX_ARGUMENTS = 2**24


class RedisCommand(NamedTuple):
    """One command, and the offset after it."""

    arguments: list[bytes]
    end: int


def sound_end(data: Data, start: int = 0, refused: Collection[bytes] = ()) -> int:
    """The last offset up to which every command and every transaction is complete.

    `refused` are upper-case names of commands unknown to Redis, as produced by damage.
    """
    end = at = start
    is_open = False
    while (command := _command_at(data, at)) is not None:
        at = command.end
        name = command.arguments[0].upper()
        if name in refused:
            break
        if name == b"MULTI":
            is_open = True
        elif name == b"EXEC":
            is_open = False
        if not is_open:
            end = at
    return end


def readable_commands(data: Data, start: int = 0) -> Iterator[list[bytes]]:
    """Every readable command from `start` on, skipping damage."""
    at = start
    while True:
        command = _command_at(data, at)
        if command is not None:
            yield command.arguments
            at = command.end
            continue
        # The start of the next line that may be a command's.
        found = data.find(b"\n*", at)
        if found < 0:
            return
        at = found + 1


def encode(*arguments: str | bytes) -> bytes:
    """A command in the file's format."""
    parts = [each.encode() if isinstance(each, str) else each for each in arguments]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts)


def _command_at(data: Data, at: int) -> RedisCommand | None:
    """The command that starts here, or None if there is no complete one."""
    while data[at : at + 1] == b"#":  # Redis 7 may write the time between commands
        line = data.find(b"\n", at, at + 64)
        if line < 0:
            return None
        at = line + 1
    head = _number(data, at, b"*")
    if head is None or not 0 < head[0] <= _MAX_ARGUMENTS:
        return None
    count, at = head
    arguments: list[bytes] = []
    for _ in range(count):
        head = _number(data, at, b"$")
        if head is None:
            return None
        size, at = head
        if data[at + size : at + size + 2] != b"\r\n":
            return None
        arguments.append(data[at : at + size])
        at += size + 2
    return RedisCommand(arguments, at)


def _number(data: Data, at: int, mark: bytes) -> tuple[int, int] | None:
    """The number in `*12` or `$12`, and the offset after its line."""
    if data[at : at + 1] != mark:
        return None
    line = data.find(b"\r\n", at, at + _MAX_DIGITS + 3)
    digits = data[at + 1 : line] if line >= 0 else b""
    return (int(digits), line + 2) if digits.isdigit() else None
