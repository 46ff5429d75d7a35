"""How long `penstock up` waits before it starts a child again."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from penstock_common.process.notify import EXTEND, EXTEND_S, READY
from penstock_server import child
from penstock_server.child import Child, ProcessCommand


@pytest.mark.parametrize(
    ("is_ready", "longest_s"), [(False, 5.0), (True, 1.0)], ids=["never ready", "ready"]
)
async def test_the_pause_grows_less_for_one_that_was_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_ready: bool, longest_s: float
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 9:
            made.stop()

    monkeypatch.setattr(child, "asyncio", SimpleNamespace(**(vars(asyncio) | {"sleep": sleep})))
    command = ProcessCommand(["/bin/false"], {}, tmp_path / "log")
    made = Child("worker", command, lambda: made.record_heartbeat([READY]) if is_ready else None)
    await asyncio.wait_for(made.keep_running(), 20)
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[-1] == max(pauses) == longest_s


def test_a_start_that_takes_longer_says_so(tmp_path: Path) -> None:
    made = Child("worker", ProcessCommand(["/bin/false"], {}, tmp_path / "log"), lambda: None)
    assert made.extended_to < time.monotonic()
    made.record_heartbeat([EXTEND])
    assert 0 < made.extended_to - time.monotonic() <= EXTEND_S
