"""The disk under the store, or under the catalog, is full or may not be written any more: row S3.

Commits fail, nothing leaves the queue, and clients keep what they have, or hear "later" once the queue
is full too. When the disk takes writes again, all goes on unaided.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from benchmarks.generate import Shape
from support.disks import small_disk
from support.faultload import FaultLoad, fault_load
from support.letters import letters
from support.stack import Stack, eventually, running_stack
from support.workers import metrics_of

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]

SHAPE = Shape(runs=4, keys=20, rows=50, writers=2)
BACKLOG_BYTES = 6 * 2**20
_DIRECTORY_MODES = (0o500, 0o700)


@pytest.fixture
def socket() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ps-") as folder:
        yield Path(folder) / "metrics"


@asynccontextmanager
async def loaded(
    folder: Path,
    socket: Path,
    *,
    catalog_folder: Path | None = None,
    plain_store: bool = False,
) -> AsyncIterator[tuple[Stack, FaultLoad]]:
    """An installation whose queue takes a few seconds of the load that is on it."""
    async with running_stack(
        folder,
        workers=0,
        catalog_folder=catalog_folder,
        own_store=True,
        plain_store=plain_store,
        backlog_bytes=BACKLOG_BYTES,
    ) as stack:
        await stack.start_worker(metrics_socket=socket)
        store = stack.store
        async with fault_load(
            stack.urls[0], stack.api_key, store.url, store.token, folder / "load", shape=SHAPE
        ) as load:
            yield stack, load


async def errors_of(socket: Path) -> float:
    return (await metrics_of(socket)).get(("penstock_worker_errors_total", "store"), 0)


async def outlast(
    stack: Stack,
    load: FaultLoad,
    socket: Path,
    mend: Callable[[], None],
    row: Callable[[str], None],
) -> None:
    """Commits fail until nobody's batches are taken any more; mended, all is well by itself."""
    before, backlog = await errors_of(socket), await stack.backlog()

    async def fails() -> bool:
        return await errors_of(socket) > before + 2

    await eventually(fails, 60)
    committed = load.generated.committed
    await load.until("refused", 60)
    assert await stack.backlog() > backlog
    assert load.generated.committed == committed
    assert await letters(stack) == 0
    mend()
    await load.flowing(timeout_s=60)
    found = await load.settle()
    row(load.report)
    assert found.is_clean, str(found)
    assert found.points > 10_000
    assert await letters(stack) == 0


async def test_store_disk_full(tmp_path: Path, socket: Path, row: Callable[[str], None]) -> None:
    """S3: the disk under the store is full."""
    folder = tmp_path / "full"
    folder.mkdir()
    with small_disk(folder / "data", "192m") as disk:
        async with loaded(folder, socket) as (stack, load):
            disk.fill()
            await outlast(stack, load, socket, disk.make_room, row)


async def test_catalog_disk_full(tmp_path: Path, socket: Path, row: Callable[[str], None]) -> None:
    """S3: the disk under the catalog is full."""
    with small_disk(tmp_path / "disk", "16m") as disk:
        folder = tmp_path / "full"
        folder.mkdir()
        async with loaded(folder, socket, catalog_folder=disk.folder) as (stack, load):
            disk.fill()
            await outlast(stack, load, socket, disk.make_room, row)


async def test_store_read_only(tmp_path: Path, socket: Path, row: Callable[[str], None]) -> None:
    """S3: the store may not write into its folders any more."""
    folder = tmp_path / "fixed"
    folder.mkdir()
    async with loaded(folder, socket, plain_store=True) as (stack, load):
        allow_writes(folder / "data", False)
        try:
            await outlast(stack, load, socket, lambda: allow_writes(folder / "data", True), row)
        finally:
            allow_writes(folder / "data", True)


def allow_writes(root: Path, is_allowed: bool) -> None:
    """To every folder below `root`: files are never changed there, only made."""
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        with suppress(FileNotFoundError):  # merged away meanwhile
            folder.chmod(_DIRECTORY_MODES[is_allowed])
