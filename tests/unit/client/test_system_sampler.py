"""The sampler: how often it writes which rows, where they are kept, and that there is one of it."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.samplers import MEASURED
from support.spools import new_writer, points_in

import penstock.system.sampler as sampler_module
from penstock import __version__
from penstock.settings import Settings
from penstock.spool.meta import boot_id, boot_us, load_meta
from penstock.spool.root import spools_in
from penstock.spool.writer import Writer
from penstock.system.__main__ import _elected
from penstock.system.launch import FOLDER, call, ensure_sampler, is_sampler_running
from penstock.system.membership import Membership
from penstock.system.sampler import Sampler
from penstock.system.wish import MIN_INTERVAL_S, SYSTEM_RANK, sampler_name, wish
from penstock.wire import SYSTEM_RANK as RANK_ON_THE_WIRE

Samplers = Callable[[], Sampler]
NAME = sampler_name()
TESTS = Path(__file__).parents[2]


@pytest.fixture
def sampler_of(tmp_path: Path) -> Iterator[Samplers]:
    made: list[Sampler] = []
    (tmp_path / FOLDER).mkdir()

    def make() -> Sampler:
        made.append(Sampler(tmp_path, NAME))
        return made[-1]

    yield make
    for each in made:
        each.leave()
        each.run()


def start(root: Path, run: str, interval_s: float = 10.0, **fields: Any) -> Writer:
    """A writer of this process that wants to be measured."""
    described = {
        "run": run, "pid": os.getpid(), "boot_id": boot_id(), "started_boot_us": boot_us(),
        "version": __version__, "system": wish(interval_s), **fields,
    }  # fmt: skip
    return new_writer(root, **described)


def measured(root: Path) -> dict[str, list[int]]:
    """By run: the steps of its rows of system metrics."""
    found: dict[str, list[int]] = {}
    for folder in spools_in(root):
        meta = load_meta(folder)
        if meta.rank >= SYSTEM_RANK:
            points = points_in(folder)
            steps = sorted(step for key, step in points if key == "system.node.load1")
            found[meta.run] = sorted([*found.get(meta.run, []), *steps])
    return found


def test_the_rank_is_the_wires() -> None:
    assert SYSTEM_RANK == RANK_ON_THE_WIRE


def test_rounds(tmp_path: Path, sampler_of: Samplers) -> None:
    """Runs that are due soon share a round."""
    writers = [start(tmp_path, f"r{number}") for number in range(3)]
    sampler = sampler_of()
    sampler._look()
    now = time.monotonic()
    assert sampler._round(now) == 0.0  # half a second after they were found
    assert sampler._round(now + 1) > 0
    assert {run: len(steps) for run, steps in measured(tmp_path).items()} == dict.fromkeys(
        ("r0", "r1", "r2"), 1
    )
    assert sampler._round(now + 9) == 0.0
    next(iter(sampler._sampled.values())).due_at = now + 9
    sampler._round(now + 9)
    assert all(len(steps) == 2 for steps in measured(tmp_path).values())
    for writer in writers:
        writer.close()


def test_many_runs_cost_no_more_than_a_few(tmp_path: Path, sampler_of: Samplers) -> None:
    """At most ten rows in each interval, and 64 runs at all."""
    writers = [start(tmp_path, f"r{number}") for number in range(80)]
    sampler = sampler_of()
    sampler._look()
    now = time.monotonic() + 1
    rows = measured(tmp_path)
    for turn in range(1, 8):
        pause_s = sampler._round(now)
        rows = measured(tmp_path)
        assert sum(map(len, rows.values())) == min(10 * turn, 64)
        assert pause_s >= (10.0 if turn < 7 else 0.5)
        now += 1.0
    assert len(rows) == 64
    # Those that wait get their turn when others end.
    for writer in writers[:70]:
        writer.close()
    sampler._look()
    sampler._round(now + 100)
    assert len(measured(tmp_path)) == 74
    for writer in writers[70:]:
        writer.close()


def test_a_run_at_rest_gets_fewer_rows(
    tmp_path: Path, sampler_of: Samplers, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = start(tmp_path, "r")
    sampler = sampler_of()
    sampler._look()
    [sampled] = sampler._sampled.values()
    now = time.monotonic() + 1
    sampler._round(now)
    assert sampled.due_at == now + 10
    sampler._round(now + 10)  # in these ten seconds this process has used milliseconds
    assert sampled.due_at == now + 70
    monkeypatch.setattr(sampler_module, "_RESTS_BELOW_CORES", -1.0)
    sampler._round(now + 70)
    assert sampled.due_at == now + 80
    writer.close()


def test_many_runs_at_rest_cost_next_to_nothing(tmp_path: Path, sampler_of: Samplers) -> None:
    """Twelve runs for 22 minutes: a row each at the start, one when they come to rest, and then every ten minutes."""
    writers = [start(tmp_path, f"r{number}") for number in range(12)]
    sampler = sampler_of()
    sampler._look()
    now = time.monotonic() + 1
    for _ in range(22 * 60):
        sampler._round(now)
        now += 1.0
    counts = {len(steps) for steps in measured(tmp_path).values()}
    assert counts <= {4, 5, 6}
    sampler._bell.heard = f"end {writers[0].id}\n".encode()
    before = len(measured(tmp_path)["r0"])
    sampler._listen(now)
    assert len(measured(tmp_path)["r0"]) == before + 1
    for each in writers:
        each.close()


def test_who_is_served(tmp_path: Path) -> None:
    """Not those in other containers, of other jobs or versions, before a reboot, that did not ask, or that ended."""
    others: list[dict[str, Any]] = [
        {"system": {}}, {"system": {"interval_s": 10.0, "sampler": "another"}},
        {"boot_id": "before"}, {"parent": "writer"},
    ]  # fmt: skip
    writers = [start(tmp_path, "other", **fields) for fields in others]
    start(tmp_path, "ended").close()
    mine = start(tmp_path, "mine", rank=3)
    second = start(tmp_path, "mine", 2.0, rank=1)
    membership = Membership(tmp_path, NAME)
    assert membership.look() == []
    [run] = membership.runs.values()
    assert run.place.run == "mine"
    assert (run.first.rank, run.interval_s, len(run.members)) == (1, 2.0, 2)
    second.close()
    assert membership.look() == []
    assert run.first.rank == 3
    mine.close()
    assert membership.look() == [run]
    for writer in writers:
        writer.close()


@pytest.mark.parametrize(("job", "is_same"), [("", True), ("17", False)])
def test_each_job_has_its_sampler(monkeypatch: pytest.MonkeyPatch, job: str, is_same: bool) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    before = sampler_name()
    monkeypatch.setenv("SLURM_JOB_ID", job)
    assert (sampler_name() == before) == is_same


def test_the_next_sampler_goes_on(tmp_path: Path, sampler_of: Samplers) -> None:
    """In the same spool, above the last step, also when a lower rank has come meanwhile."""
    writer = start(tmp_path, "r", rank=4)
    first = sampler_of()
    first._look()
    first._round(time.monotonic() + 1)
    for sampled in first._sampled.values():  # as if it was killed: its lock goes
        assert sampled.lane is not None
        sampled.lane._writer.spool().abandon()
        sampled.lane._writer._spool = None
    lower = start(tmp_path, "r", rank=0)
    second = sampler_of()
    second._look()
    second._round(time.monotonic() + 1)
    [folder] = [each for each in spools_in(tmp_path) if load_meta(each).rank >= SYSTEM_RANK]
    meta = load_meta(folder)
    assert (meta.rank, meta.parent, meta.primary) == (SYSTEM_RANK + 4, writer.id, False)
    [steps] = measured(tmp_path).values()
    assert len(steps) == len(set(steps)) == 2
    writer.close()
    lower.close()


def test_its_rows_take_little_disk(tmp_path: Path, sampler_of: Samplers) -> None:
    """Segments are not allocated ahead: with a thousand runs that would be a gigabyte."""
    writer = start(tmp_path, "r")
    sampler = sampler_of()
    sampler._look()
    sampler._round(time.monotonic() + 1)
    [folder] = [each for each in spools_in(tmp_path) if load_meta(each).rank >= SYSTEM_RANK]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 16_000
    writer.close()


def test_clocks(tmp_path: Path, sampler_of: Samplers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is set back does not make steps go back."""
    writer = start(tmp_path, "r")
    sampler = sampler_of()
    sampler._look()
    now = time.monotonic() + 1
    sampler._round(now)
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() - 10**15)
    monkeypatch.setattr(time, "time", lambda: real() / 1e9 - 10**6)
    sampler._round(now + 10)
    [steps] = measured(tmp_path).values()
    assert len(steps) == 2
    assert 0 <= steps[0] < steps[1] < 100
    writer.close()


def test_a_full_disk(tmp_path: Path, sampler_of: Samplers, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = start(tmp_path, "r")
    sampler = sampler_of()
    sampler._look()
    monkeypatch.setattr("penstock.spool.spool_folder._free_bytes", lambda folder: 0)
    sampler._round(time.monotonic() + 1)
    [sampled] = sampler._sampled.values()
    assert sampled.lane is not None
    assert sampled.lane.dropped == 1
    monkeypatch.undo()
    time.sleep(0.3)  # the spool asks for room no more often
    sampler._round(time.monotonic() + 20)
    assert len(measured(tmp_path)["r"]) == 1
    writer.close()


def test_the_folders_limit(tmp_path: Path, sampler_of: Samplers) -> None:
    """It holds for system metrics as for what is logged."""
    writer = start(tmp_path, "r", system=wish(10.0, 1_000))
    sampler = sampler_of()
    sampler._look()
    sampler._round(time.monotonic() + 1)
    [sampled] = sampler._sampled.values()
    assert sampled.lane is not None
    assert sampled.lane.dropped == 1
    assert measured(tmp_path) == {"r": []}
    writer.close()


def test_there_is_one(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    assert not call(tmp_path, NAME, "new")
    folder.mkdir()
    assert not is_sampler_running(tmp_path, NAME)
    with _elected(folder, NAME) as first:
        assert first
        assert is_sampler_running(tmp_path, NAME)
        assert ensure_sampler(tmp_path, NAME) is None
        with _elected(folder, NAME) as second:
            assert not second
    assert not is_sampler_running(tmp_path, NAME)


def test_there_is_one_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Lustre that is mounted without `flock`."""

    def no_locks(fd: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, "no locks")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    folder = tmp_path / FOLDER
    folder.mkdir()
    with _elected(folder, NAME) as first:
        assert first
        assert is_sampler_running(tmp_path, NAME)
        with _elected(folder, NAME) as second:
            assert not second
        assert is_sampler_running(tmp_path, NAME)
    assert not is_sampler_running(tmp_path, NAME)


@pytest.mark.parametrize(
    ("variables", "is_wanted", "interval_s"),
    [
        ({}, True, 10.0),
        ({"PENSTOCK_SYSTEM_METRICS": "0"}, False, 10.0),
        ({"WANDB_X_DISABLE_STATS": "true"}, False, 10.0),
        ({"WANDB__DISABLE_STATS": "true"}, False, 10.0),
        ({"WANDB_X_STATS_SAMPLING_INTERVAL": "3"}, True, 3.0),
        ({"WANDB__STATS_SAMPLING_INTERVAL": "3", "PENSTOCK_SYSTEM_INTERVAL_S": "4"}, True, 4.0),
    ],
)
def test_settings(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], is_wanted: bool, interval_s: float
) -> None:
    monkeypatch.delenv("PENSTOCK_SYSTEM_METRICS")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = Settings.resolve({"x_stats_sampling_interval": None}, {})
    assert (found.system_metrics and not found.x_disable_stats) == is_wanted
    assert found.system_interval_s == interval_s
    assert Settings(x_stats_sampling_interval=7).system_interval_s == 7.0
    assert wish(0.0)["interval_s"] == MIN_INTERVAL_S


def test_a_run_that_cannot_be_measured_keeps_no_other_from_it(
    tmp_path: Path, sampler_of: Samplers, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    bad, good = start(tmp_path, "bad"), start(tmp_path, "good")
    sampler = sampler_of()
    sampler._look()
    real = sampler._write

    def write(each: Any, *rest: Any, **more: Any) -> None:
        if each.run.place.run == "bad":
            raise RuntimeError("what nobody thought of")
        real(each, *rest, **more)

    monkeypatch.setattr(sampler, "_write", write)
    now = time.monotonic() + 1
    sampler._round(now)
    sampler._round(now + 10)
    assert {run: len(steps) for run, steps in measured(tmp_path).items()} == {"good": 2}
    assert capfd.readouterr().err.count("RuntimeError: what nobody thought of") == 1
    bad.close()
    good.close()


def test_a_process_that_ends_while_it_is_measured(tmp_path: Path, sampler_of: Samplers) -> None:
    """Its lock is still held, or was a moment ago: the row has the machine's metrics, and no zeros for the run's."""
    writer = start(tmp_path, "r", pid=2**22 - 1)
    sampler = sampler_of()
    sampler._look()
    sampler._round(time.monotonic() + 1)
    [folder] = [each for each in spools_in(tmp_path) if load_meta(each).rank >= SYSTEM_RANK]
    keys = {key for key, _ in points_in(folder)}
    assert {"system.node.load1", "system.memory_percent"} <= keys
    assert not keys & {"system.cpu", "system.proc.memory.rssMB", "system.proc.count"}
    writer.close()


def test_no_thread_and_no_start_in_init(tmp_path: Path) -> None:
    """The sampler is started by the thread that looks after the spools."""
    code = (
        "import threading, time, penstock\n"
        "run = penstock.init(project='p', mode='offline')\n"
        "print(*sorted(each.name for each in threading.enumerate()))\n"
        "until = time.monotonic() + 20\n"
        "from support.samplers import end_samplers, sampler_pids\n"
        "while not sampler_pids(run.settings.root) and time.monotonic() < until: time.sleep(0.05)\n"
        "print(len(sampler_pids(run.settings.root)), threading.active_count())\n"
        "run.finish()\n"
        "end_samplers(run.settings.root)\n"
    )
    environ = {**os.environ, **MEASURED, "PENSTOCK_DIR": str(tmp_path / "spool")}
    environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environ, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["MainThread penstock-spools", "1 2"]
