"""The whole installation dies under load, and is started again; and each part is replaced in turn."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from support.faultload import FaultLoad, fault_load
from support.up import Up, start_up

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]


def store_of(up: Up) -> tuple[str, str]:
    data = up.folder / "data"
    return f"unix://{data / 'run' / 'store.sock'}", (data / "secrets" / "store_token").read_text()


async def judge(load: FaultLoad, row: Callable[[str], None], note: str = "") -> None:
    found = await load.settle()
    row(load.report + note)
    assert found.is_clean, str(found)
    assert found.points > 10_000


async def test_supervisor_killed(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, row: Callable[[str], None]
) -> None:
    """up: kill -9 of the supervisor, and `penstock up` again."""
    folder = tmp_path_factory.mktemp("up")
    up = await asyncio.to_thread(start_up, folder)
    port = int(up.url.rpartition(":")[2])
    try:
        async with fault_load(up.url, up.api_key, *store_of(up), tmp_path) as load:
            up.stop(signal.SIGKILL)
            old = {pid for pids in up.children.values() for pid in pids}
            started = time.monotonic()
            up = await asyncio.to_thread(lambda: start_up(folder, port=port))
            took_s = time.monotonic() - started
            await load.flowing()
            await judge(load, row, f"; ready after {took_s:.1f} s")
            assert not [pid for pid in old if psutil.pid_exists(pid)]
    finally:
        await asyncio.to_thread(up.stop)


async def test_every_part_restarted_in_turn(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, row: Callable[[str], None]
) -> None:
    """U1: each part is stopped with SIGTERM and started anew, one after another."""
    folder = tmp_path_factory.mktemp("up")
    up = await asyncio.to_thread(lambda: start_up(folder, "--gateways", "2"))
    try:
        async with fault_load(up.url, up.api_key, *store_of(up), tmp_path) as load:
            for role in ("gateway", "worker", "store", "redis"):
                for pid in up.children[role]:
                    os.kill(pid, signal.SIGTERM)
                    await load.flowing()
            await judge(load, row)
        assert load.generated.statuses <= {200, 202, 404, 503}  # nothing was refused for good
    finally:
        await asyncio.to_thread(up.stop)
