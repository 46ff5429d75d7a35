"""A process that ends, or in which something is missing, in every way that we know of: the training goes on, and
every row that was logged arrives."""

from __future__ import annotations

import pytest
from support.ledger import Ledger
from support.marks import SMOKE
from support.scripts import Scripts
from support.spools import wait_until

HEAD = """
import os, signal, sys, threading, time
import penstock
"""
BEGIN = f"""{HEAD}
run = penstock.init(project="p", id="r")
"""

# What a script does, and how many rows of `a` it logged.
ENDS: dict[str, tuple[str, int]] = {
    "atexit, before and after init": (
        f"""import atexit
{HEAD}
atexit.register(lambda: print("last", penstock.run))
run = penstock.init(project="p", id="r")
atexit.register(lambda: run.log({{"a": 1.0}}))
run.log({{"a": 1.0}})
""",
        2,
    ),
    "an object's end": (
        f"""{BEGIN}
class Last:
    def __del__(self): run.log({{"a": 2.0}})
sys.modules["kept"] = Last()
run.log({{"a": 1.0}})
""",
        1,
    ),
    "a thread that ends later": (
        f"""{BEGIN}
def later():
    time.sleep(0.2)
    for _ in range(100): run.log({{"a": 1.0}})
threading.Thread(target=later).start()
""",
        100,
    ),
    "os._exit": (f"{BEGIN}\nrun.log({{'a': 1.0}})\nos._exit(0)", 1),
    "exec": (
        f"""{BEGIN}
run.log({{"a": 1.0}})
if os.fork() == 0: os.execv(sys.executable, [sys.executable, "-c", "print(5)"])
os.wait()
run.log({{"a": 1.0}})
""",
        2,
    ),
    "stop and go on": (
        f"""{BEGIN}
import subprocess
pauses = subprocess.Popen(["sh", "-c", f"kill -STOP {{os.getpid()}}; sleep 0.2; kill -CONT {{os.getpid()}}"])
while pauses.poll() is None: time.sleep(0.01)
for _ in range(50): run.log({{"a": 1.0}})
""",
        50,
    ),
    "its modules are gone": (
        f"""{BEGIN}
for name in [n for n in sys.modules if n.startswith("penstock")]: del sys.modules[name]
run.log({{"a": 1.0}})
run.finish()
""",
        1,
    ),
}
SURROUNDINGS: dict[str, tuple[str, int]] = {
    "no standard error": (f"{BEGIN}\nsys.stderr = None\nrun.log(5)\nrun.log({{'a': 1.0}})", 1),
    "a standard error that raises": (
        f"""{BEGIN}
class Raises:
    def write(self, text): raise RuntimeError("no")
    def flush(self): pass
sys.stderr = Raises()
run.log(5); run.log({{"a": object()}}); run.log({{"a": 1.0}})
""",
        1,
    ),
    "a standard error that logs": (
        f"""{BEGIN}
class Logs:
    def write(self, text): penstock.log({{"said": text}})
    def flush(self): pass
sys.stderr = Logs()
run.log(5); run.log({{"a": 1.0}})
""",
        1,
    ),
    "a standard error that another thread holds": (
        f"""{BEGIN}
signal.signal(signal.SIGALRM, lambda *_: run.log(5))
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
for _ in range(300): print("." * 50, file=sys.stderr, flush=True)
signal.setitimer(signal.ITIMER_REAL, 0)
run.log({{"a": 1.0}})
""",
        1,
    ),
    "a working folder that was deleted": (
        f"""{HEAD}
import tempfile
folder = tempfile.mkdtemp(); os.chdir(folder); os.rmdir(folder)
run = penstock.init(project="p", id="r"); run.log({{"a": 1.0}})
""",
        1,
    ),
    "another working folder": (
        f"""{BEGIN}
os.chdir("/")
for step in range(20000): run.log({{"a": 1.0}})
""",
        20_000,
    ),
    "umask 0": (
        f"""{HEAD}
os.umask(0)
run = penstock.init(project="p", id="r"); run.log({{"a": 1.0}})
for folder, _, files in os.walk(os.environ["PENSTOCK_DIR"]):
    assert os.stat(folder).st_mode & 0o077 == 0, folder
""",
        1,
    ),
    "umask 777": (
        f"{HEAD}\nos.umask(0o777)\npenstock.init(project='p', id='r').log({{'a': 1.0}})",
        1,
    ),
    "no address space": (
        f"""{BEGIN}
import resource
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + (4 << 20), -1))
for _ in range(2000): run.log({{"a": 1.0, "more": "x" * 4000}})
run.log({{"o": object()}})
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
""",
        2_000,
    ),
    "signals": (
        f"""{BEGIN}
signal.signal(signal.SIGALRM, lambda *_: run.log({{"signalled": 1.0, "o": object()}}))
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
for step in range(20000): run.log({{"a": 1.0}}, step=step)
signal.setitimer(signal.ITIMER_REAL, 0)
""",
        20_000,
    ),
    "faulthandler": (
        f"""{BEGIN}
import faulthandler
faulthandler.enable()
faulthandler.dump_traceback_later(0.01, repeat=True, file=open(os.devnull, "w"))
for _ in range(5000): run.log({{"a": 1.0}})
faulthandler.cancel_dump_traceback_later()
""",
        5_000,
    ),
    "asyncio": (
        f"""{BEGIN}
import asyncio
async def one():
    for _ in range(50):
        run.log({{"a": 1.0}})
        await asyncio.sleep(0)
async def all(): await asyncio.gather(*(one() for _ in range(4)))
asyncio.run(all())
""",
        200,
    ),
    "gevent": (
        f"""from gevent import monkey
monkey.patch_all()
import gevent
{BEGIN}
def one():
    for _ in range(50): run.log({{"a": 1.0}}); gevent.sleep(0)
gevent.joinall([gevent.spawn(one) for _ in range(4)])
run.log({{"o": object()}})
""",
        200,
    ),
    "a subinterpreter": (
        f"""{BEGIN}
import _xxsubinterpreters as subinterpreters
other = subinterpreters.create()
subinterpreters.run_string(other, "import sys; sys.path[:] = " + repr(sys.path) +
    "\\nimport penstock\\npenstock.init(project='p', mode='offline').log({{'a': 1.0}})")
run.log({{"a": 1.0}})
""",
        1,
    ),
}


SOON = (
    "atexit, before and after init",
    "no address space",
    "signals",
    "gevent",
    "a subinterpreter",
)


def rows(ledger: Ledger) -> int:
    return sum(1 for key, _ in ledger.points() if key == "a")


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(name, marks=SMOKE if name in SOON else pytest.mark.heavy)
        for name in {**ENDS, **SURROUNDINGS}
    ],
)
def test_a_training_goes_on(scripts: Scripts, ledger: Ledger, how: str) -> None:
    if how == "gevent":
        pytest.importorskip("gevent")
    if how == "a subinterpreter":
        pytest.importorskip("_xxsubinterpreters")
    code, count = {**ENDS, **SURROUNDINGS}[how]
    scripts.run(code)
    wait_until(lambda: rows(ledger) >= count)
    assert rows(ledger) == count
    wait_until(lambda: ledger.states() == {"r": ("finished", 0)})
