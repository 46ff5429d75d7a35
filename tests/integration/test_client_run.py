"""Whole scripts: import penstock, init, log, finish — killed, forked, crashed, offline, twice."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from support.ledger import Ledger
from support.scripts import Scripts
from support.spools import points_in, wait_until

from penstock.spool.progress import load_progress
from penstock.spool.root import spools_in


def test_a_script_for_wandb(scripts: Scripts, ledger: Ledger) -> None:
    said = scripts.run("""
import argparse
import penstock as wandb
arguments = argparse.Namespace(lr=0.1, model={"depth": 3})
run = wandb.init(project="p", name="first", config=arguments, tags=["a"], monitor_gym=True,
                 settings=wandb.Settings(start_method="thread"))
assert wandb.run is run and wandb.config.lr == 0.1 and wandb.config["model"]["depth"] == 3
wandb.config.update({"batch": 64}, allow_val_change=True)
wandb.define_metric("loss", summary="min")
for epoch in range(10):
    wandb.log({"loss": 1 / (epoch + 1), "epoch": epoch})
assert wandb.summary["epoch"] == 9
wandb.summary["best"] = 0.1
wandb.alert("done", text="well")
wandb.finish()
assert wandb.run is None
""")
    assert ledger.points()["epoch", 9] == 9
    assert len(ledger.points()) == 20
    config: dict[str, object] = {}
    for record in ledger.records("config"):
        config |= record["update"]
    assert config == {"lr": 0.1, "model": {"depth": 3}, "batch": 64}
    assert ledger.records("summary")[0]["update"] == {"best": 0.1}
    assert ledger.records("run")[0]["name"] == "first"
    assert [r["state"] for r in ledger.records("state")] == ["running", "finished"]
    assert ledger.records("define_metric")[0]["name"] == "loss"
    assert ledger.records("alert")[0]["title"] == "done"
    assert "is stored" in said
    assert said.count("monitor_gym") == 1
    assert "good" not in said


def test_killed_after_log_returned(scripts: Scripts, ledger: Ledger) -> None:
    scripts.run(
        """
import os, penstock
run = penstock.init(project="p")
for step in range(5_000):
    run.log({"a": float(step), "b": 1.0})
os.kill(os.getpid(), 9)
""",
        status=-9,
    )
    folder = next(spools_in(scripts.root))
    assert len(points_in(folder)) == 10_000
    wait_until(lambda: load_progress(folder).done)
    assert len(ledger.points()) == 10_000
    assert [r["state"] for r in ledger.records("state")] == ["running", "crashed"]


def test_exception_fails_the_run(scripts: Scripts, ledger: Ledger) -> None:
    scripts.run("import penstock; penstock.init(); penstock.log({'a': 1}); 1 / 0", status=1)
    assert ledger.records("state")[-1] == {"t": "state", "state": "failed", "exit_code": 1}


def test_context_manager_and_atexit(scripts: Scripts, ledger: Ledger) -> None:
    scripts.run("""
import penstock
try:
    with penstock.init(id="one") as run: run.log({"a": 1}); raise SystemExit(3)
except SystemExit: pass
penstock.init(id="two").log({"a": 2})
""")
    states = {
        batch.run: record
        for batch in ledger.batches()
        for record in batch.records
        if record["t"] == "state"
    }
    assert states["one"]["exit_code"] == 3
    assert states["two"]["state"] == "finished"


def test_forked_children_have_spools_of_their_own(scripts: Scripts, ledger: Ledger) -> None:
    scripts.run("""
import os, penstock
run = penstock.init(project="p")
for step in range(100): run.log({"parent": float(step)}, step=step)
children = []
for child in range(3):
    pid = os.fork()
    if pid == 0:
        if child < 2:
            for step in range(100): penstock.log({f"child{child}": float(step)}, step=step)
            run.finish()
        os._exit(0)
    children.append(pid)
for step in range(100, 200): run.log({"parent": float(step)}, step=step)
for pid in children: assert os.waitpid(pid, 0)[1] == 0
run.finish()
""")
    points = ledger.points()
    assert sum(key == "parent" for key, _ in points) == 200
    assert sum(key.startswith("child") for key, _ in points) == 200
    # The second child goes on in the spool of the first where that has ended before.
    assert len(ledger.committed) in (2, 3)
    assert [r["state"] for r in ledger.records("state")] == ["running", "finished"]


def test_dead_parent_is_seen_though_a_child_lives(scripts: Scripts, ledger: Ledger) -> None:
    said = scripts.run(
        """
import os, sys, time, penstock
run = penstock.init(project="p")
run.log({"a": 1.0})
pid = os.fork()
if pid == 0:
    os.close(1); os.close(2)
    time.sleep(30)
    os._exit(0)
print(pid, flush=True)
os.kill(os.getpid(), 9)
""",
        status=-9,
    )
    child = int(re.findall(r"\d+", said)[0])
    try:
        folder = next(spools_in(scripts.root))
        wait_until(lambda: load_progress(folder).done)
        assert ledger.records("state")[-1]["state"] == "crashed"
    finally:
        os.kill(child, signal.SIGKILL)


def test_two_runs_in_one_process(scripts: Scripts, ledger: Ledger) -> None:
    scripts.run("""
import penstock
a = penstock.init(id="a")
b = penstock.init(id="b", reinit="create_new")
assert penstock.init(id="c") is a and penstock.run is a
a.log({"x": 1.0}); b.log({"x": 2.0}); penstock.log({"y": 3.0})
b.finish()
c = penstock.init(id="d", reinit=True)
assert a.finished and penstock.run is c
c.log({"x": 4.0})
""")
    runs = {batch.run: batch for batch in ledger.batches() if batch.points}
    assert sorted(runs) == ["a", "b", "d"]
    assert runs["a"].points == 2


def test_offline_waits_for_sync(scripts: Scripts, ledger: Ledger) -> None:
    said = scripts.run(
        "import penstock\nwith penstock.init(mode='offline') as run: run.log({'a': 1.0})"
    )
    assert "penstock sync" in said
    assert not (scripts.root / "shipper.lock").exists()
    assert "stored" in scripts.penstock("sync")
    assert ledger.points() == {("a", 0): 1.0}


def test_disabled_does_nothing(scripts: Scripts) -> None:
    scripts.run("""
import penstock
run = penstock.init(mode="disabled", config={"lr": 1})
run.log({"a": 1.0}); penstock.log({"a": 2.0}); run.summary["x"] = 1
assert run.config.lr == 1
penstock.finish()
""")
    assert not scripts.root.exists()


@pytest.mark.smoke
@pytest.mark.heavy
def test_no_key_says_how_to_log_in_and_login_mends_it(scripts: Scripts, ledger: Ledger) -> None:
    code = "import penstock\nwith penstock.init() as run: run.log({'a': 1.0})"
    said = scripts.run(code, PENSTOCK_API_KEY="")
    assert said.count("penstock login") == 2  # when it begins, and what is left at its end
    assert not ledger.points()
    del scripts.environment["PENSTOCK_API_KEY"]
    said = scripts.penstock("login", "--key", "-", given="bad\n", status=1)
    assert "does not know" in said
    said = scripts.penstock("login", "--key", "-", given="good\n")
    assert "good" not in said
    assert "logged in" in said
    credentials = scripts.root / "config" / "penstock" / "credentials.json"
    assert credentials.stat().st_mode & 0o777 == 0o600
    assert "stored" in scripts.penstock("sync")
    assert ledger.points() == {("a", 0): 1.0}


def test_unreachable_server_neither_raises_nor_loses(scripts: Scripts, ledger: Ledger) -> None:
    said = scripts.run(
        """
import penstock
run = penstock.init()
for step in range(100): run.log({"a": 1.0})
run.finish(timeout_s=2.5)
""",
        PENSTOCK_BASE_URL="http://127.0.0.1:9",
    )
    assert said.count("cannot reach") >= 1
    assert "sent later" in said
    assert len(points_in(next(spools_in(scripts.root)))) == 100


def test_init_is_quick_and_leaves_no_child(scripts: Scripts, ledger: Ledger) -> None:
    said = scripts.run("""
import os, penstock
run = penstock.init()
run.log({"a": 1.0})
run.finish()
try:
    os.waitpid(-1, os.WNOHANG)
    print("has a child")
except ChildProcessError:
    print("no child")
""")
    assert "no child" in said


def test_private_files(scripts: Scripts) -> None:
    scripts.run("import penstock; penstock.init().log({'a': 1.0})")
    for path in [scripts.root, *scripts.root.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_two_ranks_share_a_run(scripts: Scripts, ledger: Ledger) -> None:
    code = """
import os, penstock
with penstock.init(mode="shared") as run:
    run.log({f"rank{os.environ['RANK']}": 1.0})
"""
    for rank in ("0", "1"):
        scripts.run(code, PENSTOCK_RUN_ID="joined", RANK=rank)
    assert {batch.run for batch in ledger.batches()} == {"joined"}
    assert {batch.rank for batch in ledger.batches()} == {0, 1}
    assert [r["state"] for r in ledger.records("state")].count("finished") == 1


def test_sigterm_keeps_its_default(scripts: Scripts) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import penstock, time; penstock.init().log({'a': 1}); print(1, flush=True); time.sleep(30)",
        ],
        env=scripts.environment,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    started = time.monotonic()
    process.terminate()
    assert process.wait(20) == -signal.SIGTERM
    assert time.monotonic() - started < 20
    process.stdout.close()


def test_resume_goes_on_after_the_last_step(scripts: Scripts, ledger: Ledger) -> None:
    code = """
import penstock
with penstock.init(id="one", resume="allow") as run:
    for _ in range(5): run.log({"a": 1.0})
"""
    for _ in range(2):
        scripts.run(code)
    assert sorted(step for _, step in ledger.points()) == list(range(10))
    said = scripts.run("import penstock; penstock.init(id='none', resume='must')", status=1)
    assert "no run" in said
    said = scripts.run("import penstock; penstock.init(id='one', resume='never')", status=1)
    assert "already exists" in said
