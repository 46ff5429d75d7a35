"""What a worker was working on when it died is known to the next one."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from penstock_common.queue.entries import Entry
from penstock_workers.shards.flight_recorder import Death, FlightRecorder, left_behind

_DIES = """
import os, signal, sys
from pathlib import Path
from penstock_common.queue.entries import Entry
from penstock_workers.shards.flight_recorder import FlightRecorder
with FlightRecorder.opened(Path(sys.argv[1])) as recorder:
    if "committing" in sys.argv:
        commit = recorder.committing()
        commit.__enter__()
    shards = [0, 3, 15, 3]
    entries = [Entry(shard, b"1-1", "e/p/r/w", 1, b"", 0) for shard in shards]
    recorder.reads(entries, is_counted="uncounted" not in sys.argv)
    recorder.note(Entry(3, b"1764-2", "e/p/r/w", 1, b"", 0))
    if "cleared" in sys.argv:
        recorder.clear()
    if "committed" in sys.argv:
        commit.__exit__(None, None, None)
    os.kill(os.getpid(), signal.SIGKILL)
"""


DEATH = Death(3, "1764-2", frozenset({0, 3, 15}), 4)


def entry(shard: int, entry_id: bytes) -> Entry:
    return Entry(shard, entry_id, "e/p/r/w", 1, b"", 0)


def dies(folder: Path, *how: str) -> None:
    done = subprocess.run([sys.executable, "-c", _DIES, str(folder), *how], check=False)
    assert done.returncode == -signal.SIGKILL


def test_the_note_outlives_its_process_and_is_told_once(tmp_path: Path) -> None:
    dies(tmp_path)
    assert left_behind(tmp_path) == [DEATH]
    assert left_behind(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_died_of_something_else_blames_nothing(tmp_path: Path) -> None:
    dies(tmp_path, "cleared")
    assert left_behind(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_shards_of_which_no_try_was_counted_are_not_told(tmp_path: Path) -> None:
    dies(tmp_path, "uncounted")
    assert left_behind(tmp_path) == [DEATH._replace(counted=frozenset())]


def test_what_is_read_while_others_are_committed_may_be_innocent(tmp_path: Path) -> None:
    dies(tmp_path, "committing")
    assert left_behind(tmp_path) == []
    dies(tmp_path, "committing", "committed")
    assert left_behind(tmp_path) == [DEATH]


def test_workers_that_live_or_ended_well_are_no_concern(tmp_path: Path) -> None:
    with FlightRecorder.opened(tmp_path / "new") as recorder:
        recorder.note(entry(15, b"99999999999999999999-18446744073709551615"))
        assert left_behind(tmp_path / "new") == []
        dies(tmp_path / "new")
        assert left_behind(tmp_path / "new") == [DEATH]
    assert list((tmp_path / "new").iterdir()) == []


def test_without_a_folder_it_notes_nothing_that_lasts() -> None:
    with FlightRecorder.opened(None) as recorder:
        recorder.note(entry(1, b"1-1"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x" * 71,
        b"\1\0\0\0" + b"1-1 ; x".ljust(67, b"\0"),
        b"\x10\0\0\0" + b"1-1".ljust(67, b"\0"),
    ],
)
def test_a_damaged_note_is_dropped(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.entry").write_bytes(content)
    assert left_behind(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_used_does_not_stop_a_worker(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for folder in (tmp_path / "file", Path("/proc/self/none")):
        with FlightRecorder.opened(folder) as recorder:
            recorder.note(entry(1, b"1-1"))
            assert recorder.entry == entry(1, b"1-1")
        assert left_behind(folder) == []


def test_a_full_disk_is_met_before_the_first_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mapped page without room on the disk would end the process at the first note."""
    with FlightRecorder.opened(tmp_path) as recorder:
        recorder.note(entry(1, b"1-1"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Path, "rename", full)
    with FlightRecorder.opened(tmp_path) as recorder:
        recorder.note(entry(1, b"1-1"))
    assert list(tmp_path.iterdir()) == []
