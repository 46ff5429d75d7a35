"""Dead letters, as an operator sees them and as Redis holds them."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from support.stack import Stack

from penstock_common.queue.redis_keys import SHARDS, RedisKeys

__all__ = ["dead", "dead_seqs", "letters", "poison"]

KEYS = RedisKeys()


async def dead(stack: Stack, *arguments: str, answer: str = "", status: int = 0) -> list[str]:
    """The lines that `penstock dead …` prints; `answer` is what it is answered if it asks."""
    environ = {**os.environ, "PENSTOCK_REDIS_URL": stack.redis.url}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "penstock.cli", "dead", *arguments, "--settings",
        env=environ, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(answer.encode()), 30)
    assert process.returncode == status, err.decode()
    return out.decode().splitlines()


async def letters(stack: Stack) -> int:
    """How many there are."""
    redis = stack.redis.client()
    try:
        return sum([await redis.xlen(KEYS.dead(shard)) for shard in range(SHARDS)])
    finally:
        await redis.aclose()


async def dead_seqs(stack: Stack) -> dict[str, str]:
    """Writers, each with its numbers that are dead."""
    redis = stack.redis.client()
    try:
        found: dict[str, str] = {}
        for shard in range(SHARDS):
            seqs_of: Any = await redis.hgetall(KEYS.dead_seqs(shard))
            found |= {writer.decode(): seqs.decode() for writer, seqs in seqs_of.items()}
        return found
    finally:
        await redis.aclose()


def poison(faults: Path, *lines: str) -> Path:
    """Make these batches fail in workers whose failpoints lie in `faults`: `fault for run seq`."""
    file = faults / "worker.batch"
    file.write_text("\n".join(lines))
    return file
