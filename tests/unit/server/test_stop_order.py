"""`penstock up` stops what takes requests before what stores them, and that before the stores."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from penstock_server import stop_order
from penstock_server.child import Child, ProcessCommand
from penstock_server.stop_order import longest_stop_s, stop_in_order

GRACE_S = 45
_ENDS = "trap 'echo %s >> order; exit 0' TERM; echo up >> {name}; while :; do sleep 0.02; done"
_DEAF = "trap '' TERM; echo up >> {name}; while :; do sleep 0.02; done"


def child(folder: Path, name: str, script: str = "") -> Child:
    text = (script or _ENDS.replace("%s", name)).replace("{name}", f"{name}.up")
    command = ProcessCommand(["/bin/sh", "-c", f"cd {folder}; {text}"], {}, folder / "log")
    return Child(name, command, lambda: None)


async def stopped(folder: Path, children: list[Child], environ: dict[str, str]) -> list[str]:
    """The kinds in the order in which they ended."""
    running = {each: asyncio.create_task(each.keep_running()) for each in children}
    async with asyncio.timeout(20):
        while not all((folder / f"{each.name}.up").exists() for each in children):
            await asyncio.sleep(0.01)
        await stop_in_order(running, environ)
    assert all(task.done() for task in running.values())
    path = folder / "order"
    return path.read_text().split() if path.exists() else []


async def test_each_stage_ends_before_the_next_one_is_stopped(tmp_path: Path) -> None:
    names = ["redis", "worker", "gateway", "store"]
    order = await stopped(tmp_path, [child(tmp_path, name) for name in names], {})
    assert order[:2] == ["gateway", "worker"]
    assert sorted(order[2:]) == ["redis", "store"]


async def test_a_part_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop_order, "_MORE_S", 0.1)
    environ = {"PENSTOCK_DRAIN_S": "0.1"}
    children = [child(tmp_path, "gateway", _DEAF), child(tmp_path, "worker")]
    assert await stopped(tmp_path, children, environ) == ["worker"]


def test_a_pod_with_a_pre_stop_of_five_seconds_ends_within_its_grace_period() -> None:
    assert longest_stop_s({"PENSTOCK_PRE_STOP_S": "5"}) < GRACE_S
    assert longest_stop_s({"PENSTOCK_DRAIN_S": "60"}) > 120
