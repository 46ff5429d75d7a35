"""How runs end, as the server is told: terminated, preempted, left by sys.exit, started again."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.ledger import Ledger
from support.scripts import Scripts
from support.spools import wait_until
from support.up import Up, running_up
from support.up import wait_until as up_wait_until

from penstock.spool.progress import load_progress
from penstock.spool.root import spools_in


def states(ledger: Ledger) -> list[str]:
    return [record["state"] for record in ledger.records("state")]


def terminated(scripts: Scripts, code: str) -> tuple[int, str]:
    """The exit status and the output of a script that got SIGTERM once it had printed a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=scripts.environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    with process, process.stdout as output:
        said = line = ""
        while line != "ready\n":  # a run may be called ready-otter-12, too
            line = output.readline()
            assert line, said
            said += line
        process.terminate()
        said += output.read()
        return process.wait(20), said


def test_a_terminated_run_is_preempted_and_not_crashed(scripts: Scripts, ledger: Ledger) -> None:
    status, _ = terminated(
        scripts,
        """
import penstock, time
run = penstock.init()
run.log({"a": 1.0})
print("ready", flush=True)
time.sleep(30)
""",
    )
    assert status == -signal.SIGTERM
    (folder,) = spools_in(scripts.root)
    wait_until(lambda: load_progress(folder).done)
    assert states(ledger) == ["running", "preempting"]
    assert load_progress(folder).state == "preempting"
    assert ledger.points() == {("a", 0): 1.0}


def test_terminated_amid_logging(scripts: Scripts, ledger: Ledger) -> None:
    """The signal comes at any moment of a loop that does nothing but log."""
    for _ in range(3):
        status, _ = terminated(
            scripts,
            """
import penstock
run = penstock.init()
print("ready", flush=True)
while True: run.log({"a": 1.0, "b": "text"})
""",
        )
        assert status == -signal.SIGTERM
    wait_until(lambda: all(load_progress(folder).done for folder in spools_in(scripts.root)))
    assert states(ledger) == ["running", "preempting"] * 3


def test_terminated_while_it_waits_for_room(scripts: Scripts) -> None:
    scripts.environment["PENSTOCK_BASE_URL"] = "http://127.0.0.1:9"
    scripts.environment |= {"PENSTOCK_SPOOL_LIMIT_BYTES": str(2**20), "PENSTOCK_ON_FULL": "block"}
    status, said = terminated(
        scripts,
        """
import penstock, sys
sys.stderr = sys.stdout
run = penstock.init()
print("ready", flush=True)
row = {f"k{i}": 1.0 for i in range(1000)}
while True: run.log(row)
""",
    )
    assert status == -signal.SIGTERM, said


def test_the_users_own_handler_still_runs(scripts: Scripts, ledger: Ledger) -> None:
    status, said = terminated(
        scripts,
        """
import os, penstock, signal, sys, time
def mine(number, frame):
    os.write(1, b"mine")  # printing may not be interrupted by printing
    penstock.run.summary["saved"] = 1
    sys.exit(7)
signal.signal(signal.SIGTERM, mine)
run = penstock.init()
print("ready", flush=True)
time.sleep(30)
""",
    )
    assert (status, "mine" in said) == (7, True)
    assert states(ledger) == ["running", "preempting", "failed"]
    assert ledger.records("state")[-1]["exit_code"] == 7


@pytest.mark.parametrize("rank", ["0", "3"])
def test_after_sigterm_finish_waits_less(scripts: Scripts, rank: str) -> None:
    """The scheduler will kill the process, and it may have a checkpoint to write."""
    scripts.environment |= {"PENSTOCK_BASE_URL": "http://127.0.0.1:9", "RANK": rank}
    status, said = terminated(
        scripts,
        """
import penstock, penstock.runs.sending, signal, sys, time
penstock.runs.sending._PREEMPTED_S = 0.5
sys.stderr = sys.stdout
def leave(number, frame): sys.exit(143)
signal.signal(signal.SIGTERM, leave)
run = penstock.init(id="r", mode="shared")
print("ready", flush=True)
time.sleep(30)
""",
    )  # within 20 s; `finish` would wait for a minute
    assert status == 143
    assert "not stored yet" in said


def test_a_handler_set_later_and_an_ignored_signal_are_left_alone(scripts: Scripts) -> None:
    scripts.run("""
import os, penstock, signal, threading
signal.signal(signal.SIGTERM, signal.SIG_IGN)
run = penstock.init(id="a")
os.kill(os.getpid(), signal.SIGTERM)
assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
""")
    scripts.run("""
import penstock, signal, threading
thread = threading.Thread(target=penstock.init)
thread.start(); thread.join()
assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
""")


def test_a_forked_child_that_is_terminated_says_nothing(scripts: Scripts, ledger: Ledger) -> None:
    scripts.run("""
import os, penstock, signal, time
run = penstock.init()
run.log({"a": 1.0})
for _ in range(100):
    child = os.fork()
    if child == 0:
        time.sleep(20)
        os._exit(0)
    os.kill(child, signal.SIGTERM)  # at once, or later
    assert os.waitpid(child, 0)[1] == signal.SIGTERM
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
run.finish()
""")
    assert states(ledger) == ["running", "finished"]


@pytest.mark.parametrize(
    ("call", "status", "recorded"),
    [
        ("sys.exit(3)", 3, ("failed", 3)),
        ("sys.exit('no data')", 1, ("failed", 1)),
        ("sys.exit()", 0, ("finished", 0)),
        ("argparse.ArgumentParser().parse_args(['--what'])", 2, ("failed", 2)),
        (
            "t = threading.Thread(target=sys.exit, args=(4,)); t.start(); t.join()",
            0,
            ("finished", 0),
        ),
    ],
)
def test_the_status_of_sys_exit_is_the_runs(
    scripts: Scripts, ledger: Ledger, call: str, status: int, recorded: tuple[str, int]
) -> None:
    scripts.run(f"import argparse, sys, threading, penstock; penstock.init(); {call}", status)
    last = ledger.records("state")[-1]
    assert (last["state"], last["exit_code"]) == recorded


def test_finish_says_what_is_left(scripts: Scripts, ledger: Ledger) -> None:
    ledger.commits = False
    said = scripts.run("""
import penstock
run = penstock.init()
for step in range(100): run.log({"a": 1.0})
run.finish(timeout_s=1.5)
""")
    left = re.search(r"has not stored everything yet; (\d+) batch.*, .* not stored yet", said)
    assert left, said
    assert int(left[1]) >= 1
    assert "is sent in the background, or with: penstock sync" in said
    ledger.commits = True


def test_ctrl_c_while_finish_waits(scripts: Scripts, ledger: Ledger) -> None:
    ledger.commits = False
    said = scripts.run("""
import os, signal, threading, penstock
signal.signal(signal.SIGINT, signal.default_int_handler)  # not what a job in the background inherits
run = penstock.init()
run.log({"a": 1.0})
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
run.finish(timeout_s=40)
print("went on")
""")
    assert "not waiting any longer" in said
    assert "not stored yet" in said
    assert "went on" in said
    ledger.commits = True


PREEMPTED = """
import os, signal, penstock
run = penstock.init(project="states", id="again")
run.log({"x": 1.0})
os.kill(os.getpid(), signal.SIGKILL)
"""
AGAIN = """
import pathlib, time, penstock
run = penstock.init(project="states", id="again", resume="allow")
run.log({"x": 2.0})
while not pathlib.Path(DONE).exists(): time.sleep(0.05)
run.finish()
"""


def state(up: Up) -> str:
    try:
        return str(up.get("/v1/runs/local/states/again")["state"])
    except OSError:
        return "none"


@pytest.mark.heavy
@pytest.mark.timeout(120)
def test_a_crashed_run_that_is_started_again_runs(tmp_path: Path) -> None:
    done = tmp_path / "done"
    with running_up(tmp_path) as up:
        assert up.run_python(PREEMPTED).returncode == -signal.SIGKILL
        up_wait_until(lambda: state(up) == "crashed", 30)
        process = up.start_python(AGAIN.replace("DONE", repr(str(done))))
        try:
            up_wait_until(lambda: state(up) == "running", 30)
            done.touch()
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
        up_wait_until(lambda: state(up) == "finished", 30)


def test_removed_folder_does_not_stop_the_training(scripts: Scripts) -> None:
    said = scripts.run("""
import os, shutil, penstock
run = penstock.init()
run.log({"a": 1.0})
shutil.rmtree(os.environ["PENSTOCK_DIR"])
for _ in range(1000): run.log({"a": 1.0})
run.finish(timeout_s=1)
print("went on")
""")
    assert "went on" in said
    shutil.rmtree(scripts.root, ignore_errors=True)
