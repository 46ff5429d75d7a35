"""Rows C1-C4, D2 and D3 of the fault matrix, and the client's memory: real training processes, real
shippers, a real stack. Every row that `log()` returned from is stored exactly once.

A training process notes each step in a file after `log()` has returned; what is stored is read from
the store itself. An error of the disk itself (EIO) needs a device that fails: it is not tried here.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from support.front import Front, running_front
from support.ledger import cells
from support.stack import Stack, eventually, running_stack

from penstock.spool.progress import load_progress
from penstock.spool.root import spools_in
from penstock.wire import Batch, Frame, decode_batch, encode_batch
from penstock_storage.contracts.interface import RunRef

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.heavy,
    pytest.mark.timeout(150),
]

KEYS = 40
OUTAGE_S = float(os.environ.get("PENSTOCK_TEST_OUTAGE_S", "20"))
MOST_GROWTH_BYTES = 64 * 2**20
Points = dict[tuple[str, int], float]

PRELUDE = f"""
import os, signal, struct, sys, time
import penstock
from penstock import Settings
note_fd = os.open(os.environ["NOTES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def log(run, step):
    run.log({{f"k{{i}}": step + i / 64 for i in range({KEYS})}}, step=step)
    os.write(note_fd, struct.pack("<q", step))
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("client")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def front(stack: Stack) -> AsyncIterator[Front]:
    async with running_front(stack.urls[0]) as running:
        yield running


class Host:
    """A machine on which people train: scripts, their spools, and the shipper that they share."""

    def __init__(self, path: Path, stack: Stack, front: Front) -> None:
        self.stack = stack
        self.root = path / "spool"
        self.notes = path / "notes"
        self.failpoints = path / "failpoints"
        self.failpoints.mkdir()
        self.project = f"p{random.SystemRandom().getrandbits(40):x}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PENSTOCK_", "WANDB_"))}
        self.environ = {
            **kept,
            "PENSTOCK_CONSOLE": "off",
            "PENSTOCK_FACTS": "off",
            "PENSTOCK_DIR": str(self.root),
            "PENSTOCK_BASE_URL": front.url,
            "PENSTOCK_API_KEY": stack.api_key,
            "PENSTOCK_PROJECT": self.project,
            "PENSTOCK_RUN_ID": "r",
            "PENSTOCK_FAILPOINTS": str(self.failpoints),
            "PENSTOCK_SYSTEM_METRICS": "off",
            "XDG_CONFIG_HOME": str(path / "config"),
            "NOTES": str(self.notes),
        }

    async def start(self, code: str, **environ: str) -> asyncio.subprocess.Process:
        """A training process; its standard error is read when it has ended."""
        return await asyncio.create_subprocess_exec(
            sys.executable, "-c", PRELUDE + code,
            env={**self.environ, **environ}, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def run(self, code: str, **environ: str) -> str:
        """Run a training process to its end; what it said."""
        process = await self.start(code, **environ)
        _, said = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, said.decode()
        return said.decode()

    def noted(self) -> list[int]:
        """The steps whose `log()` returned, in order."""
        raw = self.notes.read_bytes() if self.notes.exists() else b""
        return [step for (step,) in struct.iter_unpack("<q", raw[: len(raw) // 8 * 8])]

    async def until_noted(self, count: int) -> None:
        async def enough() -> bool:
            return len(self.noted()) >= count

        await eventually(enough, 30)

    async def ship(self, *arguments: str) -> None:
        """Shippers one after the other, whatever kills them, until everything is stored."""
        async with asyncio.timeout(90):
            while not self.is_done():
                shipper = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "penstock.shipper", str(self.root),
                    *("--idle-exit", "0.2", *arguments), env=self.environ,
                )  # fmt: skip
                await shipper.wait()
        await self.stack.drained()

    def is_done(self) -> bool:
        return all(load_progress(folder).done for folder in spools_in(self.root))

    def end_shipper(self) -> None:
        """kill -9 the shipper that a training process left behind."""
        lock = self.root / "shipper.lock"
        if lock.exists() and (words := lock.read_text().split()):
            with suppress(ProcessLookupError):
                os.kill(int(words[0]), signal.SIGKILL)

    async def stored(self) -> dict[str, Points]:
        """The points of the run by writer, straight from the store."""
        catalog = self.stack.catalog
        run = await catalog.run(RunRef("local", self.project, "r"))
        assert run is not None
        names = {number: name for name, number in (await catalog.keys(run.project_number)).items()}
        writers = {row.lane: row.writer for row in await catalog.lanes([run.number])}
        found = await self.stack.points.query(
            "SELECT lane, key, step, v FROM penstock.points FINAL"
            f" WHERE run = {run.number} ORDER BY lane, key, step"
        )
        points: dict[str, Points] = {writer: {} for writer in writers.values()}
        columns = (np.asarray(found[name]).tolist() for name in ("lane", "key", "step", "v"))
        for lane, key, step, value in zip(*columns, strict=True):
            assert (names[key], step) not in points[writers[lane]]
            points[writers[lane]][names[key], step] = value
        return {writer: held for writer, held in points.items() if held}

    async def stored_rows(self) -> list[int]:
        """The steps of one writer that are stored: whole, and with the values that were logged."""
        (points,) = (await self.stored()).values()
        steps = sorted({step for _, step in points})
        assert points == {(f"k{i}", step): step + i / 64 for step in steps for i in range(KEYS)}
        return steps


@pytest.fixture
def host(tmp_path: Path, stack: Stack, front: Front) -> Iterator[Host]:
    made = Host(tmp_path, stack, front)
    yield made
    made.end_shipper()


# -- C1


@pytest.mark.parametrize("seed", [pytest.param(0, marks=pytest.mark.smoke), 1, 2])
async def test_a_training_process_killed_at_any_moment(host: Host, seed: int) -> None:
    rng = random.Random(seed)
    training = await host.start("""
run = penstock.init()
for step in range(10**9):
    log(run, step)
""")
    await host.until_noted(rng.randrange(1, 8_000))
    training.kill()
    await training.communicate()
    await host.ship()
    noted, stored = host.noted(), await host.stored_rows()
    assert noted == list(range(len(noted)))
    # The row that was being logged may be there or not; it is there as a whole if it is.
    assert stored in (noted, [*noted, len(noted)])


@pytest.mark.parametrize("point", ["before_cut", "after_cut", "after_send", "before_free"])
async def test_a_shipper_killed_at_each_failpoint(host: Host, point: str) -> None:
    failpoint = host.failpoints / f"shipper.{point}"
    failpoint.write_text("kill\nkill\nkill")
    # Little room: what is stored has to be freed while the training goes on.
    limit = str(6 << 20)
    training = await host.start(
        """
run = penstock.init()
for step in range(12_000):
    log(run, step)
    if step % 20 == 0:
        time.sleep(0.002)
run.finish(timeout_s=0)
""",
        PENSTOCK_SPOOL_LIMIT_BYTES=limit,
        PENSTOCK_ON_FULL="block",
    )
    await host.until_noted(1)
    while training.returncode is None:
        await host.ship("--limit-bytes", limit)
        with suppress(TimeoutError):
            await asyncio.wait_for(training.wait(), 0.2)
    await training.communicate()
    await host.ship("--limit-bytes", limit)
    assert not failpoint.exists(), "the shipper was not killed three times"
    assert await host.stored_rows() == host.noted() == list(range(12_000))


# -- C2


async def write_offline(host: Host, rows: int) -> list[Path]:
    """A spool whose writer was killed, and which nobody has sent anything of; its segments."""
    training = await host.start(
        f"""
run = penstock.init()
for step in range({rows}):
    log(run, step)
os.kill(os.getpid(), signal.SIGKILL)
""",
        PENSTOCK_MODE="offline",
    )
    await training.communicate()
    assert host.noted() == list(range(rows))
    (folder,) = spools_in(host.root)
    # Segments that were made ahead and never used hold nothing but their header.
    return sorted(folder.glob("*.seg"))


async def sync(host: Host) -> None:
    """`penstock sync`, as the person who finds the spool does it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "penstock.cli", "sync", "--timeout", "60",
        env=host.environ, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await asyncio.wait_for(process.wait(), 90) == 0
    await host.stack.drained()


async def test_a_torn_last_record(host: Host) -> None:
    segment = (await write_offline(host, 3_000))[-1]
    used = len(segment.read_bytes().rstrip(b"\0"))
    with segment.open("r+b") as file:
        file.truncate(used - 5)
    await sync(host)
    assert await host.stored_rows() == list(range(2_999))


async def test_a_flipped_bit(host: Host) -> None:
    segment = (await write_offline(host, 3_000))[1]
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    await sync(host)
    stored = await host.stored_rows()
    assert len(stored) == 2_999
    (folder,) = spools_in(host.root)
    assert load_progress(folder).damaged_bytes > 0


@pytest.mark.parametrize("which", [0, 1])
async def test_a_missing_segment(host: Host, which: int) -> None:
    segments = await write_offline(host, 6_000)
    assert len(segments) >= 3
    segments[which].unlink()
    await sync(host)
    stored = await host.stored_rows()
    missing = sorted(set(range(6_000)) - set(stored))
    # What was in it is gone, and nothing else.
    assert missing == list(range(missing[0], missing[0] + len(missing)))
    assert (missing[0] == 0) == (which == 0)
    assert stored[-1] == 5_999
    assert len(missing) < 3_000


@pytest.fixture
def small_disk(host: Host) -> Iterator[None]:
    host.root.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs", str(host.root)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield
    finally:
        host.end_shipper()
        subprocess.run(["umount", "-l", str(host.root)], check=True)


@pytest.mark.usefixtures("small_disk")
async def test_a_full_disk(host: Host, front: Front) -> None:
    """The newest rows are dropped, counted and said; training goes on; the rest is stored."""
    await front.shut()
    said = await host.run("""
run = penstock.init()
for step in range(20_000):
    log(run, step)
run.finish(timeout_s=0)
""")
    assert len(host.noted()) == 20_000
    assert "a logged row was dropped" in said
    dropped = int(re.findall(r"(\d+) logged rows were dropped in total", said)[0])
    assert 0 < dropped < 20_000
    host.end_shipper()
    await front.open()
    await host.ship()
    assert len(await host.stored_rows()) == 20_000 - dropped


# -- C3


async def test_two_processes_of_one_run_have_writers_of_their_own(host: Host) -> None:
    code = """
run = penstock.init()
for step in range(2_000):
    run.log({os.environ["WHO"]: float(step)}, step=step)
"""
    await asyncio.gather(host.run(code, WHO="one"), host.run(code, WHO="two"))
    await host.ship()
    found = await host.stored()
    assert len(found) == 2
    each = [{(name, step): float(step) for step in range(2_000)} for name in ("one", "two")]
    assert sorted(found.values(), key=lambda points: next(iter(points))) == each


async def test_a_forked_child_has_a_writer_of_its_own(host: Host) -> None:
    await host.run("""
run = penstock.init()
for step in range(500):
    run.log({"parent": float(step)}, step=step)
child = os.fork()
who = "parent" if child else "child"
for step in range(500, 2_000):
    run.log({who: float(step)}, step=step)
if child:
    assert os.waitpid(child, 0)[1] == 0
else:
    run.finish()
    os._exit(0)
""")
    await host.ship()
    found = await host.stored()
    each = [
        {(name, step): float(step) for step in range(first, 2_000)}
        for name, first in (("child", 500), ("parent", 0))
    ]
    assert sorted(found.values(), key=lambda points: next(iter(points))) == each


# -- C4


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "exit"])
async def test_leaving_with_a_large_backlog(host: Host, front: Front, how: str) -> None:
    """10 MB that no server takes: the process leaves, and all of it is stored later."""
    await front.shut()
    training = await host.start(
        """
run = penstock.init(settings=Settings(finish_timeout_s=1.0))
for step in range(25_000):
    log(run, step)
while os.environ["HOW"] != "exit":
    time.sleep(0.1)
""",
        HOW=how,
    )
    await host.until_noted(25_000)
    if how != "exit":
        training.send_signal(getattr(signal, how))
    await asyncio.wait_for(training.communicate(), 15)
    host.end_shipper()
    await front.open()
    await host.ship()
    assert await host.stored_rows() == host.noted() == list(range(25_000))


# -- D2


@pytest.mark.parametrize("when", ["queued", "committed"])
async def test_the_same_number_with_other_bytes(host: Host, when: str) -> None:
    """The first stays; the second is never mixed with it."""

    def batch(value: float, steps: int) -> bytes:
        column = struct.pack(f"<{steps}q", *range(steps))
        values = struct.pack(f"<{steps}d", *[value] * steps)
        return encode_batch(
            Batch(host.project, "r", "w", 1, frames=[Frame(["a"], column, column, values)])
        )

    stack = host.stack
    status, _ = await stack.post(batch(1.0, 3))
    assert status == 202
    if when == "committed":
        await stack.drained()
    status, _ = await stack.post(batch(2.0, 5))
    assert status in (202, 409)
    await stack.drained()
    assert await host.stored() == {"w": {("a", step): 1.0 for step in range(3)}}


# -- D3


@pytest.mark.parametrize("status", [400, 413])
async def test_a_refused_batch_in_the_middle(host: Host, front: Front, status: int) -> None:
    """What is refused for good is put aside; what was too large comes in smaller pieces; what
    follows is not held up."""
    front.answers += [None, None, status]
    await host.run("""
run = penstock.init()
for step in range(4_000):
    log(run, step)
    if step % 4 == 0:
        time.sleep(0.002)
run.finish()
""")
    await host.ship()
    assert not front.answers
    stored, refused = await host.stored_rows(), refused_rows(host)
    assert sorted([*stored, *refused]) == host.noted() == list(range(4_000))
    assert (len(refused) > 0) == (status == 400)
    assert stored[-1] == 3_999


def refused_rows(host: Host) -> list[int]:
    """The steps in the batches that were put aside."""
    batches = [decode_batch(path.read_bytes()) for path in host.root.glob("*/rejected/*.batch")]
    return sorted({step for b in batches for f in b.frames for _, step, _ in cells(f)})


# -- memory


@pytest.mark.timeout(2 * OUTAGE_S + 180)
async def test_memory_during_an_outage(
    host: Host, front: Front, row: Callable[[str], None]
) -> None:
    """G3: the server is away, for 20 s or PENSTOCK_TEST_OUTAGE_S; the training's memory is looked at."""
    await front.shut()
    training = await host.start(
        """
import numpy, psutil
me = psutil.Process()
before = most = me.memory_info().rss
run = penstock.init(settings=Settings(finish_timeout_s=0.1))
until, step = time.monotonic() + float(os.environ["OUTAGE_S"]), 0
while time.monotonic() < until:
    for step in range(step, step + 20):
        log(run, step)
    step += 1
    most = max(most, me.memory_info().rss)
    time.sleep(0.01)
print(f"grown={most - before}", file=sys.stderr)
""",
        OUTAGE_S=str(OUTAGE_S),
    )
    _, said = await asyncio.wait_for(training.communicate(), OUTAGE_S + 60)
    grown = int(re.findall(rb"grown=(\d+)", said)[0])
    row(f"{OUTAGE_S:.0f} s, at most {grown / 2**20:.1f} MiB more than before init")
    assert grown < MOST_GROWTH_BYTES
    host.end_shipper()
    await front.open()
    await host.ship()
    assert await host.stored_rows() == host.noted()
    assert len(host.noted()) > 1_000
