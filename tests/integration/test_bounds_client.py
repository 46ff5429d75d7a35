"""A process for which its run has no room: it is told, its data stays on its machine, it ends."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.stack import Stack, eventually, running_stack

from penstock_storage.contracts.interface import RunRef

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(120),
    pytest.mark.heavy,
]

BOUNDS: dict[str, Any] = {"writers_per_run": 1}
SCRIPT = """
import penstock
run = penstock.init(project="full", id="run")
for step in range(50):
    run.log({"loss": step})
run.finish()
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("stack"), workers=0, **BOUNDS) as running:
        await running.start_worker(**BOUNDS)
        yield running


async def train(stack: Stack, folder: Path) -> str:
    """What a script that logs to the run says while it does; it ends well."""
    environ = {
        **os.environ,
        "PENSTOCK_BASE_URL": stack.urls[0],
        "PENSTOCK_API_KEY": stack.api_key,
        "PENSTOCK_DIR": str(folder),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SCRIPT,
        env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 50)
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_a_process_beyond_the_bound_is_told_and_ends(stack: Stack, tmp_path: Path) -> None:
    assert "is stored" in await train(stack, tmp_path / "first")
    # Accepted before the door has heard: set aside, and said.
    said = await train(stack, tmp_path / "second")
    assert "could not process" in said or "may have" in said, said
    rows = b'{"project":"full","run":"run","rows":[{"step":0,"loss":1}]}'

    async def is_heard() -> bool:
        return (await stack.post_raw(rows, content_type="application/json"))[0] == 422

    await eventually(is_heard)
    said = await train(stack, tmp_path / "third")
    assert "as many writers as it may have" in said, said
    assert "kept on this machine, not sent" in said, said
    assert list((tmp_path / "third").glob("**/rejected/*"))
    row = await stack.catalog.run(RunRef("local", "full", "run"))
    assert row is not None
    assert len(await stack.catalog.lanes([row.number])) == 1
