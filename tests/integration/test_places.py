"""Where data is kept when it cannot be kept where it should be: elsewhere, or nowhere, never an error."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.disks import small_disk
from support.ledger import Ledger
from support.scripts import Scripts
from support.spools import wait_until

from penstock.runs.launch import is_shipper_running
from penstock.runs.places import MEMORY_LIMIT_BYTES, first_that_works
from penstock.settings import Settings

TRAINING = """
run = penstock.init(project="p", config={"lr": 0.1})
for step in range(10): run.log({"a": float(step)})
run.log({"odd": object(), "a": 10.0})
run.summary["best"] = 1
assert run.config["lr"] == 0.1 and run.step == 11
run.finish()
print("trained")
"""


class Places:
    """Scripts for which everything that is tried lies in the test's folder."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.usual, self.temporary, self.memory = (
            folder / "var-tmp", folder / "tmp", folder / "memory"
        )  # fmt: skip
        self.temporary.mkdir()
        self.memory.mkdir()
        self._scripts = Scripts(folder / "root", url)

    def run(self, place: str, code: str = TRAINING, **variables: str) -> str:
        redirected = f"""
import pathlib, tempfile, penstock.spool.root
penstock.spool.root.default_root = lambda: pathlib.Path({str(self.usual)!r})
import penstock.runs.places
penstock.runs.places._MEMORY = pathlib.Path({str(self.memory)!r})
tempfile.tempdir = {str(self.temporary)!r}
import penstock
"""
        return self._scripts.run(redirected + code, 0, PENSTOCK_DIR=place, **variables)

    def end_shippers(self) -> None:
        for lock in self.folder.rglob("shipper.lock"):
            if is_shipper_running(lock.parent):
                wait_until(lambda lock=lock: lock.read_text() != "")  # type: ignore[misc]
                os.kill(int(lock.read_text().split()[0]), signal.SIGTERM)


@pytest.fixture
def places(tmp_path: Path, ledger: Ledger) -> Iterator[Places]:
    made = Places(tmp_path, ledger.url)
    yield made
    made.end_shippers()


def a_file(folder: Path) -> str:
    (folder / "file").write_text("")
    return str(folder / "file")


def below_a_file(folder: Path) -> str:
    return f"{a_file(folder)}/below"


def somebody_elses(folder: Path) -> str:
    (folder / "theirs").mkdir()
    os.chown(folder / "theirs", 12_345, 12_345)
    return str(folder / "theirs")


def nobody_can_write(folder: Path) -> str:
    del folder
    return "/proc/penstock"


def a_pipe(folder: Path) -> str:
    os.mkfifo(folder / "pipe")
    return str(folder / "pipe")


def a_link_to_nothing(folder: Path) -> str:
    (folder / "link").symlink_to("/no/such/folder")
    return str(folder / "link")


def too_long(folder: Path) -> str:
    return str(folder / ("x" * 300))


WRONG = [
    a_file, below_a_file, nobody_can_write, a_pipe, a_link_to_nothing, too_long,
    pytest.param(
        somebody_elses, marks=pytest.mark.skipif(os.getuid() != 0, reason="needs to give it away")
    ),
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_another_place_is_found(
    places: Places, ledger: Ledger, wrong: Callable[[Path], str]
) -> None:
    said = places.run(wrong(places.folder))
    assert len(ledger.points()) == 11
    assert said.count(f"data is kept in {places.usual} instead") == 1
    assert "is stored" in said
    assert "trained" in said


def test_a_relative_folder_and_one_that_is_no_text(places: Places, ledger: Ledger) -> None:
    said = places.run("some/folder", f"import os; os.chdir({str(places.folder)!r})\n{TRAINING}")
    assert (places.folder / "some/folder").is_dir()
    assert "instead" not in said
    places.run(os.fsdecode(bytes(places.folder) + b"/\xff\xfe"))
    assert len(ledger.points()) == 11
    assert len(ledger.batches()) >= 2


def test_a_working_folder_that_is_gone(places: Places, ledger: Ledger) -> None:
    gone = places.folder / "gone"
    prefix = (
        f"import os; os.mkdir({str(gone)!r}); os.chdir({str(gone)!r}); os.rmdir({str(gone)!r})\n"
    )
    said = places.run("relative", prefix + TRAINING)
    assert "PENSTOCK_DIR is ignored" in said
    assert len(ledger.points()) == 11


def test_no_home(places: Places, ledger: Ledger) -> None:
    forget = """
import os, pathlib
def no_home(*_): raise RuntimeError("Could not determine home directory.")
os.environ.pop("HOME", None); os.environ.pop("XDG_CONFIG_HOME", None)
pathlib.Path.home = no_home
pathlib.Path.expanduser = lambda path: no_home() if str(path)[0] == "~" else path
"""
    assert "trained" in places.run("~/penstock", forget + TRAINING)
    assert len(ledger.points()) == 11


@pytest.mark.parametrize("options", ["ro", "full", "nearly-full", "no-inodes"])
def test_a_disk_that_takes_nothing(places: Places, ledger: Ledger, options: str) -> None:
    with small_disk(places.folder / "disk") as disk:
        if "full" in options:
            disk.fill()
            os.truncate(disk.folder / "ballast", (16 << 20) - (len(options) - 4 << 14))
        else:
            what = "remount,ro" if options == "ro" else "remount,nr_inodes=1"
            command = ["mount", "-o", what, str(disk.folder)]
            subprocess.run(command, check=True, timeout=10)
        said = places.run(str(disk.folder))
    assert len(ledger.points()) == 11
    assert said.count(f"data is kept in {places.usual} instead") == 1


def test_memory_comes_last_and_takes_little(places: Places, ledger: Ledger) -> None:
    wrong = a_file(places.folder)
    places.usual.write_text("")
    places.temporary.rmdir()
    places.temporary.write_text("")
    said = places.run(wrong)
    assert f"data is kept in {places.memory}/penstock-" in said
    assert len(ledger.points()) == 11


def test_what_lies_in_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.runs.places._MEMORY", tmp_path)
    limits: list[int] = []

    def note(root: Path, limit_bytes: int) -> Path:
        limits.append(limit_bytes)
        return root

    assert first_that_works(Settings(dir=tmp_path / "kept"), note) == tmp_path / "kept"
    assert limits == [MEMORY_LIMIT_BYTES]


@pytest.mark.parametrize("strict", ["", "1"])
def test_nowhere_at_all(places: Places, ledger: Ledger, strict: str) -> None:
    wrong = a_file(places.folder)
    places.usual.write_text("")
    places.temporary.rmdir()
    places.temporary.write_text("")
    places.memory.rmdir()
    places.memory.write_text("")
    said = places.run(wrong, PENSTOCK_STRICT=strict)
    assert said.count("nothing of this run is kept") == 1
    assert "11 logged rows were dropped in total" in said
    assert "is stored" not in said
    assert "trained" in said
    assert ledger.requests == 0


def test_a_child_that_has_no_place_goes_on(places: Places) -> None:
    code = """
import os, shutil
run = penstock.init(project="p")
run.log({"a": 1.0})
pid = os.fork()
if pid == 0:
    for place in (run.settings.root, penstock.spool.root.default_root(), penstock.runs.places._MEMORY):
        shutil.rmtree(place, ignore_errors=True); place.write_text("")
    tempfile.tempdir = "/proc"
    for step in range(5): run.log({"b": 1.0})
    run.summary["c"] = 1
    run.finish()
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
run.finish(); print("trained")
"""
    said = places.run(str(places.folder / "root"), code, PENSTOCK_MODE="offline")
    assert "trained" in said
    assert "nothing of this run is kept" in said


def test_a_folder_that_is_deleted_under_the_run(places: Places) -> None:
    code = """
import shutil
run = penstock.init(project="p")
run.log({"a": 1.0})
shutil.rmtree(run.settings.root)
for step in range(100): run.log({"a": 1.0})
run.finish(timeout_s=45)
print("trained")
"""
    said = places.run(str(places.folder / "root"), code, PENSTOCK_API_KEY="wrong")
    assert said.count("was deleted while the run was logging to it") == 1
    assert "is stored" not in said
    assert "trained" in said


def test_a_process_that_gets_no_thread(places: Places, ledger: Ledger) -> None:
    code = """
import threading
def refuse(self): raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
run = penstock.init(project="p", id="r", resume="allow")
for step in range(20_000): run.log({"a": float(step), "b": 1.0, "c": 2.0})
run.finish(); print("trained")
"""
    said = places.run(str(places.folder / "root"), code)
    assert "trained" in said
    assert "instead" not in said
    assert len(ledger.points()) == 60_000


def test_a_spool_that_is_freed_at_once_was_stored(places: Places, ledger: Ledger) -> None:
    code = """
import shutil
from penstock.runs.sending import Sending
from penstock.spool.progress import load_progress
run = penstock.init(project="p")
for step in range(9): run.log({"a": 1.0})
folder = run._writer.spool().folder
wait = Sending.wait
def freed_first(self, folder, begun, deadline):
    wait(self, folder, begun, deadline)
    from penstock.shipper.receipts import keep_receipt
    keep_receipt(folder.parent, folder); shutil.rmtree(folder)
    return wait(self, folder, begun, deadline)
Sending.wait = freed_first
run.finish(); print("trained")
"""
    said = places.run(str(places.folder / "root"), code)
    assert "is stored" in said
    assert "deleted" not in said
    assert len(ledger.points()) == 9
