"""Runs of child processes end as what they are, and a run may be handed to another process."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.ledger import Ledger
from support.scripts import Scripts
from support.spools import wait_until

pytestmark = pytest.mark.heavy

HEAD = """
import multiprocessing, os, sys, time, threading
import penstock

def well(name):
    run = penstock.init(project="p", id=name)
    run.log({"a": 1.0})

def raises(name): well(name); raise RuntimeError("on purpose")
def exits(name): well(name); sys.exit(3)
def exits_well(name): well(name); sys.exit(0)
def leaves(name): well(name); os._exit(0)
def leaves_badly(name): well(name); os._exit(4)
def finishes(name): well(name); penstock.finish()
def finishes_badly(name): well(name); penstock.finish(exit_code=9)
def is_killed(name): well(name); os.kill(os.getpid(), 9)
"""
ENDS = {
    "well": ("finished", 0), "raises": ("failed", 1), "exits": ("failed", 3),
    "exits_well": ("finished", 0), "finishes": ("finished", 0), "finishes_badly": ("failed", 9),
    "is_killed": ("crashed", None),
}  # fmt: skip


def run_file(scripts: Scripts, tmp_path: Path, code: str) -> str:
    """As a file: spawned children import it."""
    path = tmp_path / "training.py"
    path.write_text(HEAD + code)
    return scripts.run(f"import runpy; runpy.run_path({str(path)!r}, run_name='__main__')")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("has_run", [False, True])
def test_children_of_multiprocessing(
    scripts: Scripts, ledger: Ledger, tmp_path: Path, method: str, has_run: bool
) -> None:
    first = 'penstock.init(project="p", id="parent").log({"p": 1.0})' if has_run else "pass"
    path = tmp_path / "training.py"
    path.write_text(f"""{HEAD}
if __name__ == "__main__":
    {first}
    context = multiprocessing.get_context({method!r})
    children = [context.Process(target=globals()[how], args=(how,)) for how in {list(ENDS)!r}]
    for child in children: child.start()
    for child in children: child.join()
    codes = [child.exitcode for child in children]
    assert codes == [0, 1, 3, 0, 0, 0, -9], codes
""")
    scripts.run(
        f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, {str(path)!r}]))"
    )
    expected = {**ENDS, **({"parent": ("finished", 0)} if has_run else {})}
    wait_until(
        lambda: len(ledger.states()) == len(expected) and "running" not in str(ledger.states())
    )
    assert ledger.states() == expected


def test_a_child_logs_to_its_parents_run_and_ends(scripts: Scripts, ledger: Ledger) -> None:
    scripts.run("""
import multiprocessing, os, sys, penstock
run = penstock.init(project="p", id="r")
def child(how):
    penstock.log({f"c{how}": 1.0}, step=how)
    if how == 1: raise RuntimeError("on purpose")
    if how == 2: sys.exit(3)
    if how == 3: os._exit(4)
children = [multiprocessing.Process(target=child, args=(how,)) for how in range(4)]
for each in children: each.start()
for each in children: each.join()
run.log({"p": 1.0}, step=9)
""")
    wait_until(lambda: len(ledger.points()) == 5)
    assert ledger.states() == {"r": ("finished", 0)}


@pytest.mark.parametrize("pool", ["multiprocessing", "futures"])
def test_workers_of_pools(scripts: Scripts, ledger: Ledger, tmp_path: Path, pool: str) -> None:
    path = tmp_path / "training.py"
    use = {
        "multiprocessing": """
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(finishes, [f"r{i}" for i in range(4)])
        pool.close(); pool.join()
""",
        "futures": """
    from concurrent.futures import ProcessPoolExecutor
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        list(pool.map(well_and_new, [f"r{i}" for i in range(4)]))
""",
    }[pool]
    path.write_text(f"""{HEAD}
def well_and_new(name):
    penstock.init(project="p", id=name, reinit=True).log({{"a": 1.0}})
if __name__ == "__main__":
    {use}
""")
    scripts.run(f"import runpy; runpy.run_path({str(path)!r}, run_name='__main__')")
    wait_until(lambda: len(ledger.states()) == 4 and "running" not in str(ledger.states()))
    assert ledger.states() == {f"r{i}": ("finished", 0) for i in range(4)}


def test_forked_children_that_leave_at_once(scripts: Scripts, ledger: Ledger) -> None:
    scripts.run(
        f"""{HEAD}
for how in ("leaves", "leaves_badly", "well"):
    pid = os.fork()
    if pid == 0:
        globals()[how](how)
        os._exit(0)
    os.waitpid(pid, 0)
"""
    )
    wait_until(lambda: len(ledger.states()) == 3 and "running" not in str(ledger.states()))
    assert ledger.states() == {
        "leaves": ("finished", 0), "leaves_badly": ("failed", 4), "well": ("finished", 0)
    }  # fmt: skip


def test_a_daemonic_child_that_is_ended(scripts: Scripts, ledger: Ledger) -> None:
    scripts.run(f"""{HEAD}
def waits(name, ready):
    well(name); ready.set(); time.sleep(60)
ready = multiprocessing.Event()
child = multiprocessing.Process(target=waits, args=("r", ready), daemon=True)
child.start()
assert ready.wait(30)
""")
    wait_until(lambda: ledger.states().get("r", ("running", 0))[0] == "preempting", 40)


def test_exit_in_the_parent_is_not_the_childs(scripts: Scripts, ledger: Ledger) -> None:
    scripts.run("""
import multiprocessing, os, sys, penstock
def child():
    penstock.init(project="p", id="child", reinit=True).log({"a": 1.0})
try: sys.exit(5)
except SystemExit: pass
each = multiprocessing.get_context("fork").Process(target=child); each.start(); each.join()
assert each.exitcode == 0
""")
    wait_until(lambda: ledger.states().get("child") == ("finished", 0))


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_a_run_is_handed_to_another_process(
    scripts: Scripts, ledger: Ledger, tmp_path: Path, method: str
) -> None:
    path = tmp_path / "training.py"
    path.write_text(f"""
import multiprocessing, sys
import penstock
def child(run, number):
    assert run.config["lr"] == 0.1 and run.id == "r" and not run.is_primary
    run.log({{f"c{{number}}": 1.0}}, step=number)
    run.finish()
if __name__ == "__main__":
    run = penstock.init(project="p", id="r", config={{"lr": 0.1}},
                        settings=penstock.Settings(api_key="good"))
    context = multiprocessing.get_context({method!r})
    children = [context.Process(target=child, args=(run, number)) for number in range(3)]
    for each in children: each.start()
    for each in children: each.join()
    assert [each.exitcode for each in children] == [0, 0, 0]
    run.log({{"p": 1.0}}, step=9)
""")
    scripts.environment["PENSTOCK_API_KEY"] = ""
    scripts.run(
        f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, {str(path)!r}]))"
    )
    assert {key for key, _ in ledger.points()} == {"c0", "c1", "c2", "p"}
    assert ledger.states() == {"r": ("finished", 0)}
    assert {batch.run for batch in ledger.batches()} == {"r"}


def test_pickles_hold_no_key_and_come_back_as_the_same_run(scripts: Scripts) -> None:
    scripts.run("""
import copy, pickle, penstock
settings = penstock.Settings(api_key="penstock_secret", mode="offline")
run = penstock.init(project="p", settings=settings, config={"a": [1]})
data = pickle.dumps(run)
assert b"penstock_secret" not in data
assert pickle.loads(data) is run and copy.deepcopy(run) is run and copy.copy(run) is run
run.finish()
again = pickle.loads(data)
assert again is not run and again.id == run.id
with penstock.init(mode="disabled") as off:
    assert pickle.loads(pickle.dumps(off)).disabled
""")


def test_signals_and_threads_amid_init(scripts: Scripts, ledger: Ledger) -> None:
    scripts.run("""
import os, signal, threading, penstock
heard = []
signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
signal.signal(signal.SIGALRM, lambda *_: heard.append(2))
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
runs = []
def begin(number):
    run = penstock.init(project="p", id=f"t{number}", reinit="create_new")
    run.log({"a": float(number)})
    runs.append(run)
threads = [threading.Thread(target=begin, args=(number,)) for number in range(8)]
for each in threads: each.start()
begin(8)
for each in threads: each.join()
signal.setitimer(signal.ITIMER_REAL, 0)
assert heard and len(runs) == 9
for run in runs: run.finish()
""")
    assert ledger.states() == {f"t{number}": ("finished", 0) for number in range(9)}


def test_forks_amid_init(scripts: Scripts, ledger: Ledger) -> None:
    scripts.run("""
import os, threading, time, penstock
stop = threading.Event()
def fork():
    while not stop.is_set():
        pid = os.fork()
        if pid == 0: os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
thread = threading.Thread(target=fork); thread.start()
for number in range(10):
    run = penstock.init(project="p", id=f"r{number}", reinit="create_new"); run.log({"a": 1.0})
    run.finish(timeout_s=0)
stop.set(); thread.join()
""")
    wait_until(lambda: ledger.states() == {f"r{number}": ("finished", 0) for number in range(10)})
