"""Whatever happens to a process, or is passed to the client, the training goes on and ends; rows that were logged
arrive."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

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
for _ in range(2000): run.log({{"a": 1.0, "more": [1.0] * 2000}})
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


def rows(ledger: Ledger) -> int:
    return sum(1 for key, _ in ledger.points() if key == "a")


@pytest.mark.parametrize(
    "how", [pytest.param(name, marks=SMOKE) for name in {**ENDS, **SURROUNDINGS}]
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


def test_closed_standard_streams(scripts: Scripts, ledger: Ledger) -> None:
    """What a process prints after it has closed one does not end up among its rows, nor is its status another."""
    scripts.run(f"""{HEAD}
for number in range(3): os.close(number)
run = penstock.init(project="p", id="r")
for _ in range(20): run.log({{"a": 1.0}})
for number in range(3):
    try: os.write(number, b"x" * 5000)
    except OSError: pass
run.log(5)
run.log({{"a": 1.0}})
run.finish()
""")
    wait_until(lambda: rows(ledger) == 21)


def test_no_file_can_be_opened(scripts: Scripts, ledger: Ledger) -> None:
    said = scripts.run(f"""{BEGIN}
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
held = []
try:
    while True: held.append(os.open("/dev/null", os.O_RDONLY))
except OSError: pass
for _ in range(20000): run.log({{"a": 1.0, "text": "x" * 100}})
for each in held: os.close(each)
time.sleep(0.5)
run.log({{"b": 1.0}})
""")
    assert "Too many open files" in said
    assert {"a", "b"} <= {key for key, _ in ledger.points()}


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(f, marks=SMOKE)
        for f in (("-O",), ("-OO",), ("-W", "error"), ("-X", "dev"), ("-bb",))
    ],
)
def test_flags(scripts: Scripts, ledger: Ledger, tmp_path: Path, flags: tuple[str, ...]) -> None:
    path = tmp_path / "training.py"
    path.write_text(f"{BEGIN}\nrun.log({{'a': 1.0, 'o': object(), b'bytes': 1.0}})\nrun.finish()")
    scripts.run(
        f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, *{flags!r}, {str(path)!r}]))"
    )
    wait_until(lambda: rows(ledger) == 1)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=SMOKE) for n in ("wandb", "queue", "secrets", "spool", "wire")]
)
def test_a_module_of_the_users_with_the_name_of_another(
    scripts: Scripts, ledger: Ledger, tmp_path: Path, name: str
) -> None:
    (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')")
    path = tmp_path / "training.py"
    path.write_text(f"{BEGIN}\nrun.log({{'a': 1.0, 'o': object()}})\nrun.finish()")
    done = subprocess.run(
        [sys.executable, str(path)], env=scripts.environment, cwd=tmp_path, capture_output=True,
        text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    wait_until(lambda: rows(ledger) == 1)


def test_no_home_and_another_language(scripts: Scripts, ledger: Ledger, tmp_path: Path) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "USER", "LOGNAME"):
        scripts.environment.pop(name, None)
    path = tmp_path / "training.py"
    path.write_text(
        f"{HEAD}\nrun = penstock.init(project='p', id='r', name='ü☃', config={{'größe': 'ß'}})\n"
        "run.log({'é☃': 1.0, 'a': 1.0, 'bad': chr(0xd800)})\nrun.finish()"
    )
    said = scripts.run(
        f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, {str(path)!r}]))",
        LANG="C", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0",
    )  # fmt: skip
    assert "is stored" in said
    assert {key for key, _ in ledger.points()} >= {"é☃", "a"}


def test_other_threads_that_log_on_do_not_hold_up_the_end(scripts: Scripts, ledger: Ledger) -> None:
    said = scripts.run(f"""{BEGIN}
def forever():
    while True: run.log({{"o": object()}})
for _ in range(2): threading.Thread(target=forever, daemon=True).start()
time.sleep(0.2)
began = time.monotonic()
run.finish()
print("took", time.monotonic() - began, flush=True)
os._exit(0)
""")
    assert float(said.split("took ")[1].split()[0]) < 50  # it waited for as long as it may: 60 s


def test_little_stack(scripts: Scripts, ledger: Ledger) -> None:
    scripts.run(f"""{BEGIN}
def deep(left):
    if left: deep(left - 1)
    else:
        run.log({{"a": 1.0}})
        run.log({{"b": {{"c": object()}}}})
limit = 70
before = sys.getrecursionlimit()
ours = []
for depth in range(20, limit):
    sys.setrecursionlimit(limit)
    try: deep(depth)
    except RecursionError as error:
        sys.setrecursionlimit(before)
        trace = error.__traceback__
        while trace.tb_next: trace = trace.tb_next
        frames = trace.tb_frame.f_code.co_name
        ours.append((depth, frames))
    sys.setrecursionlimit(before)
# Only where the training itself can call nothing any more.
assert all(name == "deep" or depth >= limit - 12 for depth, name in ours), ours
run.log({{"a": 1.0}})
""")
    assert rows(ledger) > 10


HOSTILE = f"""{BEGIN}
class Raises:
    def __getattribute__(self, name):
        if name in ("__class__", "__dict__"): return object.__getattribute__(self, name)
        raise RuntimeError("no")
    def __eq__(self, other): raise RuntimeError
    def __hash__(self): raise RuntimeError
    def __repr__(self): raise RuntimeError
    def __str__(self): raise SystemExit(9)
    def __len__(self): raise KeyboardInterrupt
    def __iter__(self): raise GeneratorExit
    def __bool__(self): raise RuntimeError
    def __float__(self): raise RuntimeError
    def __index__(self): raise RuntimeError
class Map(dict):
    def items(self): raise RuntimeError
    def keys(self): raise RuntimeError
    def __iter__(self): raise RuntimeError
    def __len__(self): raise RuntimeError
class Meta(type):
    def __getattribute__(cls, name): raise RuntimeError("meta")
class OfMeta(metaclass=Meta): pass
class Forever:
    def __repr__(self):
        while True: pass
class Again:
    def __repr__(self): penstock.log({{"inner": 1.0}}); return "again"
bad = Raises()
for value in (bad, Map(x=1), OfMeta(), Again(), [bad], {{"in": bad}}, (n for n in [1]), float("nan"), 10**400):
    run.log({{"v": value, "a": 1.0}})
    run.config.update({{"v": value}}); run.config.update(value); run.summary.update(value); run.config["w"] = value; run.summary["s"] = value
    run.log(value) if not isinstance(value, dict) else run.log(Map(a=1.0))
    run.define_metric("m", summary=value); run.alert("t", value, value)
    run.name = value; run.notes = value; run.tags = value; run.group
    run.log({{"a": 1.0}}, commit=value)
run.log({{"b": 1.0}}, step=bad)
began = time.monotonic()
run.log({{"loop": Forever()}})
assert time.monotonic() - began < 4
run.finish()
"""


def test_whatever_is_passed(scripts: Scripts, ledger: Ledger) -> None:
    said = scripts.run(HOSTILE)
    assert "v: left out" in said
    assert "<string>:" in said  # the line of the script
    assert "error in Penstock itself" not in said
    assert {"a", "inner"} <= {key for key, _ in ledger.points()}
    assert ("b", 0) not in ledger.points()


def test_an_error_of_ours_is_counted_and_on_the_runs_page(scripts: Scripts, ledger: Ledger) -> None:
    broken = f"""{BEGIN}
from penstock.values.slowpath import SlowPath
def breaks(*_): raise AssertionError("on purpose")
whole, SlowPath._tree = SlowPath._tree, breaks
for _ in range(3): run.log({{"t": (1, 2)}})
SlowPath._tree = whole
run.log({{"a": 1.0}})
"""
    said = scripts.run(broken)
    assert (
        len(
            re.findall(
                r"Penstock itself: AssertionError: on purpose, at <string>:\d+ \(<string>:", said
            )
        )
        == 1
    )
    told = [
        text
        for each in ledger.records("run")
        for name, text in each.items()
        if name == "notice client.log"
    ]
    assert told[-1].endswith(" (3 times)")
    assert rows(ledger) == 1


def test_strict_raises_instead(scripts: Scripts, ledger: Ledger) -> None:
    scripts.run(f"""{HEAD}
run = penstock.init(project="p", id="r", settings=penstock.Settings(strict=True))
from penstock.values.slowpath import SlowPath
def breaks(*_): raise AssertionError("on purpose")
def raised(action):
    try: action()
    except Exception as error: return type(error).__name__, str(error)
    return "nothing", ""
assert raised(lambda: run.log(5))[1].startswith("log() takes a dict")
assert raised(lambda: run.log({{"b": 1.0}}, step="x"))[1].startswith("step must be a whole number")
assert raised(lambda: run.log({{"": 1.0}}))[0] == "NotARow"
assert "cut" in raised(lambda: run.log({{"text": "x" * 8_000_000}}))[1]
whole, SlowPath._tree = SlowPath._tree, breaks
assert raised(lambda: run.log({{"t": (1, 2)}})) == ("AssertionError", "on purpose")
SlowPath._tree = whole
run.log({{"a": 1.0, "o": object()}})
run.finish()
""")
    assert rows(ledger) == 1


def test_an_exception_that_another_hook_prints_is_a_failure(
    scripts: Scripts, ledger: Ledger
) -> None:
    scripts.run(
        f"{BEGIN}\nsys.excepthook = lambda *_: print('mine')\nraise RuntimeError('x')", status=1
    )
    assert ledger.states() == {"r": ("failed", 1)}
