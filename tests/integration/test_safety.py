"""Whatever is passed to the client, and whatever it runs into, the training goes on and ends."""

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


def rows(ledger: Ledger) -> int:
    return sum(1 for key, _ in ledger.points() if key == "a")


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
        for f in (("-O",), ("-OO",), ("-W", "error"), ("-X", "dev"), ("-bb",), ("-I",))
    ],
)
def test_flags(scripts: Scripts, ledger: Ledger, tmp_path: Path, flags: tuple[str, ...]) -> None:
    path = tmp_path / "training.py"
    path.write_text(
        f"import sys\nsys.path[:0] = {sys.path!r}\n{BEGIN}\n"
        "run.log({'a': 1.0, 'o': object(), b'bytes': 1.0})\nrun.finish()"
    )
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
