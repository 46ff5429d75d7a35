"""What scripts print, recorded: by Python, C and children, at pipes and terminals, through every end of a process.

What they print goes where it went before in any case, also if the recording processes are killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.ledger import Ledger
from support.printing import Printing, beside_of
from support.scripts import Scripts
from support.spools import wait_until

BEGIN = 'import os, sys, time, penstock\nrun = penstock.init(project="p", id="r")\n'
# Finds the parts of the process beside it, once these are there.
FIND = '''
def beside():
    found = []
    for pid in sorted(int(each) for each in os.listdir("/proc") if each.isdecimal()):
        try:
            command = open(f"/proc/{pid}/cmdline", "rb").read()
        except OSError:
            continue
        if b"penstock.capture" in command and f'"pid": {os.getpid()}}}'.encode() in command:
            found.append(pid)
    return found
def is_handed_over():
    """Whether only the process beside can read what is printed."""
    names = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    places = [os.readlink(name) for name in names if os.path.exists(name)]
    return places.count(os.readlink("/proc/self/fd/1")) == 1
while len(beside()) != 2 or not is_handed_over():
    time.sleep(0.01)
'''


@pytest.fixture
def printing(scripts: Scripts, ledger: Ledger) -> Printing:
    return Printing(scripts, ledger)


def test_python_c_and_children(printing: Printing) -> None:
    done = printing.run(f"""{BEGIN}
import ctypes, subprocess
print("from Python")
sys.stdout.flush()
os.write(1, b"from the descriptor\\n")
subprocess.run(["echo", "from a child"])
subprocess.run(["sh", "-c", "echo an error of a child >&2"])
ctypes.CDLL(None).puts(b"from C, in its buffer")
print("an error", file=sys.stderr)
print("the last line")
""")
    printing.wait_for("the last line", "an error")
    lines = printing.lines()
    assert [text for stream, text in lines if stream == "stderr"] == [
        "an error of a child", "an error",
    ]  # fmt: skip
    out = [text for stream, text in lines if stream == "stdout"]
    wanted = ["from Python", "from the descriptor", "from a child", "the last line"]
    assert out == [*wanted, "from C, in its buffer"]
    assert done.stdout.splitlines() == out


def test_a_traceback_and_its_last_line(printing: Printing) -> None:
    done = printing.run(f'{BEGIN}print("before")\n1 / 0', status=1)
    printing.wait_for("ZeroDivisionError: division by zero")
    assert printing.texts()[0] == "before"
    assert "ZeroDivisionError: division by zero" in done.stderr
    said = [record for record in printing.ledger.records("run") if "exit_reason" in record]
    assert [record["exit_reason"] for record in said] == ["ZeroDivisionError: division by zero"]


@pytest.mark.parametrize(
    "end",
    ["os.kill(os.getpid(), 9)", "os._exit(0)", "os.kill(os.getpid(), 15)", "os.abort()"],
)
def test_nothing_printed_is_lost_at_any_end(printing: Printing, end: str) -> None:
    code = f'{BEGIN}for i in range(3_000):\n    print(i)\nprint("last", flush=True)\n{end}'
    done = subprocess.run(
        [sys.executable, "-c", code], env=printing.environment, capture_output=True, timeout=60
    )
    wanted = [*map(str, range(3_000)), "last"]
    assert done.stdout.decode().splitlines() == wanted
    printing.wait_for("last")
    assert [text for stream, text in printing.lines() if stream == "stdout"] == wanted


def test_a_terminal_stays_one(printing: Printing) -> None:
    shown = printing.at_terminal(
        f"""
import shutil
{BEGIN}
print(os.isatty(0), os.isatty(1), os.isatty(2), shutil.get_terminal_size())
print("\\x1b[31mred\\x1b[0m", input("name? "))
for step in range(1, 101):
    sys.stderr.write(f"\\r{{step}} of 100")
    sys.stderr.flush()
print()
print("end")
""",
        answers=[(b"name? ", b"someone\n")],
    )
    assert b"True True True os.terminal_size(columns=133, lines=40)" in shown, shown[:300]
    assert b"\x1b[31mred\x1b[0m someone\r\n" in shown
    assert b"\r99 of 100\r100 of 100\r\nend\r\n" in shown
    printing.wait_for("end")
    texts = printing.texts()
    assert texts[-2:] == ["100 of 100", "end"]
    assert any("\x1b[31mred\x1b[0m" in text for text in texts)


def test_the_order_stays_where_both_lead_to_one_place(printing: Printing, tmp_path: Path) -> None:
    code = f"""{BEGIN}
for i in range(2_000):
    print(i, file=sys.stdout if i % 2 else sys.stderr, flush=True)
"""
    with (tmp_path / "log").open("wb") as log:
        subprocess.run(
            [sys.executable, "-c", code], env=printing.environment, stdout=log, stderr=log,
            check=True, timeout=60,
        )  # fmt: skip
    wanted = [str(i) for i in range(2_000)]
    written = (tmp_path / "log").read_text().splitlines()
    assert [line for line in written if not line.startswith("penstock: ")] == wanted
    printing.wait_for("1999")
    assert printing.texts() == wanted


def test_a_reader_that_closed_its_pipe_ends_the_script(printing: Printing) -> None:
    code = f"{BEGIN}\nwhile True:\n    print('y' * 80)"
    command = f'{sys.executable} -c "$CODE" | head -2; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", command], env=printing.environment | {"CODE": code}, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == f"{'y' * 80}\n{'y' * 80}\n1\n"
    assert "BrokenPipeError" in done.stderr


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.parametrize("killed", ["the reader", "both"])
def test_one_megabyte_under_the_gil_while_the_reader_dies(printing: Printing, killed: str) -> None:
    """C code that holds the GIL and waits for a pipe lets no thread of ours run."""
    done = printing.run(f"""{BEGIN}{FIND}
import ctypes, subprocess
ours = os.readlink("/proc/self/fd/1")
victims = [str(pid) for pid in beside()][{1 if killed == "the reader" else 0}:]
for pid in victims:
    os.kill(int(pid), 19)
# While the loop below waits for the full pipe.
subprocess.Popen(["sh", "-c", "sleep 0.5; kill -9 " + " ".join(victims)], stderr=subprocess.DEVNULL)
library = ctypes.PyDLL(None)
line = b"x" * 99 + b"\\n"
for _ in range(20_000):
    library.fwrite(line, 1, len(line), ctypes.c_void_p.in_dll(library, "stdout"))
library.fflush(None)
deadline = time.monotonic() + 20
while os.readlink("/proc/self/fd/1") == ours and time.monotonic() < deadline:
    time.sleep(0.01)
print("restored")
""")
    assert done.stdout.endswith("restored\n")
    if killed == "the reader":
        assert len(done.stdout) == 2_000_000 + len("restored\n")
    assert done.stderr.count("the process that records console output has died") == 1
    assert "is stored" in done.stderr


@pytest.mark.heavy
@pytest.mark.smoke
def test_a_reader_that_cannot_start_costs_nothing(printing: Printing, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif '-m' in sys.orig_argv and 'penstock.capture' in sys.orig_argv:\n    raise SystemExit(3)\n"
    )
    done = printing.run(
        f'{BEGIN}\nfor i in range(1_000):\n    print(i, flush=True)\ntime.sleep(1)\nprint("end")',
        PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}",
    )
    assert done.stdout.splitlines() == [*map(str, range(1_000)), "end"]
    assert "is stored" in done.stderr


@pytest.mark.heavy
@pytest.mark.smoke
def test_forks_and_workers(printing: Printing) -> None:
    printing.run(f"""
import multiprocessing
{BEGIN}
def work(name):
    print(f"from {{name}}", flush=True)
for method in ("fork", "spawn"):
    process = multiprocessing.get_context(method).Process(target=print, args=(f"from {{method}}",))
    process.start()
    process.join()
child = os.fork()
if child == 0:
    work("os.fork")
    os._exit(0)
os.waitpid(child, 0)
print("end")
""")
    printing.wait_for("end")
    assert {"from fork", "from spawn", "from os.fork"} <= set(printing.texts())


@pytest.mark.heavy
@pytest.mark.smoke
def test_waiting_for_all_children_ends(printing: Printing) -> None:
    """The process beside is no child of the script."""
    printing.run(f"""{BEGIN}{FIND}
for _ in range(20):
    os.system("true")
    time.sleep(0.02)
try:
    while True:
        os.wait()
except ChildProcessError:
    print("no children")
""")
    printing.wait_for("no children")


@pytest.mark.heavy
@pytest.mark.smoke
def test_a_child_that_outlives_the_script_goes_on_printing(printing: Printing) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", f"""{BEGIN}
import subprocess
subprocess.Popen(["sh", "-c", "sleep 2; echo late; sleep 0.2; echo later"])
print("end")
"""],
        env=printing.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "end\n"
    assert process.wait(30) == 0
    assert process.stdout.read() == "late\nlater\n"
    process.stdout.close()
    assert printing.texts() == ["end"]
    wait_until(lambda: not beside_of(process.pid))


@pytest.mark.heavy
@pytest.mark.smoke
def test_several_runs_of_a_process(printing: Printing) -> None:
    printing.run("""
import penstock
print("before")
first = penstock.init(project="p", id="first")
print("only first")
second = penstock.init(project="p", id="second", reinit="create_new")
print("both")
first.finish()
print("only second")
second.finish()
print("between")
with penstock.init(project="p", id="third"):
    print("third")
print("after")
""")
    printing.wait_for("third")
    assert printing.texts("third") == ["third"]
    assert printing.texts("second")[-2:] == ["both", "only second"]
    assert printing.texts("first")[-1] == "both"
    assert "only first" in printing.texts("first")
    assert not {"before", "between", "after"} & set(printing.texts())


@pytest.mark.heavy
@pytest.mark.smoke
def test_descriptors_are_as_they_were_afterwards(printing: Printing) -> None:
    done = printing.run("""
import os, time, penstock
def places():
    return [os.readlink(f"/proc/self/fd/{fd}") for fd in (1, 2)], len(os.listdir("/proc/self/fd"))
before = places()
for turn in range(3):
    with penstock.init(project="p"):
        assert places()[0] != before[0]
        print("recorded")
    assert places()[0] == before[0]
deadline = time.monotonic() + 20
while places()[1] > before[1] and time.monotonic() < deadline:
    time.sleep(0.01)
print("equal" if places()[1] <= before[1] else "more")
""")
    assert done.stdout.splitlines()[-1] == "equal"


def test_a_redirection_of_somebody_else_is_left_alone(printing: Printing, tmp_path: Path) -> None:
    printing.run(f"""{BEGIN}
print("recorded", flush=True)
other = os.open({str(tmp_path / "other")!r}, os.O_WRONLY | os.O_CREAT)
os.dup2(other, 1)
print("elsewhere", flush=True)
run.finish()
print("still elsewhere", flush=True)
""")
    assert (tmp_path / "other").read_text() == "elsewhere\nstill elsewhere\n"
    assert [text for stream, text in printing.lines() if stream == "stdout"] == ["recorded"]


@pytest.mark.heavy
@pytest.mark.smoke
def test_too_few_descriptors_or_threads_cost_the_record_only(printing: Printing) -> None:
    done = printing.run("""
import os, resource, threading, penstock
before = len(os.listdir("/proc/self/fd"))
real = threading.Thread.start
def start(self):
    if self.name == "penstock-beside":
        raise RuntimeError("can't start new thread")
    real(self)
threading.Thread.start = start
with penstock.init(project="p") as run:
    print("one")
    run.log({"a": 1})
threading.Thread.start = real
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (before + 8, hard))
run = penstock.init(project="p", mode="offline")
run.log({"a": 1})
print("two")
run.finish()
""")
    assert done.stdout.splitlines() == ["one", "two"]
    assert "console output is not recorded: OSError" in done.stderr


@pytest.mark.heavy
@pytest.mark.smoke
def test_closed_descriptors(printing: Printing) -> None:
    for closed in ("<&- >&-", ">&- 2>&-", "2>&-"):
        code = f'{BEGIN}os.system("echo from a child")\nrun.log({{"a": 1}})'
        subprocess.run(
            ["sh", "-c", f'{sys.executable} -c "$CODE" {closed}'],
            env=printing.environment | {"CODE": code}, check=True, timeout=60,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


@pytest.mark.heavy
@pytest.mark.smoke
def test_a_full_disk_costs_output_and_not_the_training(printing: Printing) -> None:
    with Path("/dev/full").open("wb") as full:
        code = f'{BEGIN}\nfor i in range(50_000):\n    print(i)\nsys.stdout.flush()\nrun.log({{"a": 1}})'
        done = subprocess.run(
            [sys.executable, "-c", code], env=printing.environment, stdout=full,
            stderr=subprocess.PIPE, timeout=60,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    wait_until(lambda: printing.ledger.points() == {("a", 0): 1.0})
    printing.wait_for("0")
    assert printing.texts()[0] == "0"


def test_secrets_are_not_recorded(printing: Printing) -> None:
    secret = "abcdefgh12345678"
    done = printing.run(
        f'{BEGIN}print("it is {secret} and https://me:{secret}@host/")', MY_SERVICE_TOKEN=secret
    )
    assert secret in done.stdout
    printing.wait_for("it is [redacted] and https://[redacted]@host/")
    assert not any(
        secret.encode() in raw for each in printing.ledger.arrivals.values() for raw in each
    )


@pytest.mark.heavy
@pytest.mark.smoke
def test_a_forked_child_with_a_run_of_its_own(printing: Printing) -> None:
    """What it prints is in its own run, and in its parent's, whose output it inherited."""
    done = printing.run(f"""{BEGIN}
child = os.fork()
if child == 0:
    with penstock.init(project="p", id="child"):
        print("in the child", flush=True)
    os._exit(0)
os.waitpid(child, 0)
print("in the parent")
""")
    printing.wait_for("in the parent")
    wait_until(lambda: printing.texts("child") == ["in the child"])
    assert printing.texts("r") == ["in the child", "in the parent"]
    assert done.stdout.splitlines() == ["in the child", "in the parent"]


def test_wrapping_leaves_what_others_have_wrapped(printing: Printing) -> None:
    done = printing.run(
        """
import sys, penstock
own = sys.stdout.write
first = lambda text: own(text.upper())
sys.stdout.write = first
with penstock.init(project="p", id="r"):
    print("a")
    assert sys.stdout.write is not first
assert sys.stdout.write is first
""",
        PENSTOCK_CONSOLE="wrap",
    )
    assert done.stdout == "A\n"
    printing.wait_for("a")


@pytest.mark.parametrize("way", ["wrap", "off"])
def test_the_other_ways(printing: Printing, way: str) -> None:
    done = printing.run(
        f"""{BEGIN}
print("from Python")
os.system("echo from a child")
print("the end")
""",
        PENSTOCK_CONSOLE=way,
    )
    assert sorted(done.stdout.splitlines()) == ["from Python", "from a child", "the end"]
    assert printing.texts() == (["from Python", "the end"] if way == "wrap" else [])


def test_wandbs_variable_counts_if_ours_is_not_set(printing: Printing) -> None:
    del printing.environment["PENSTOCK_CONSOLE"]
    printing.run(f'{BEGIN}print("x")', WANDB_CONSOLE="off")
    assert printing.texts() == []
    assert beside_of(0) == []


def test_offline_is_sent_later(printing: Printing) -> None:
    printing.run(f'{BEGIN}print("kept")', PENSTOCK_MODE="offline")
    assert printing.texts() == []
    printing.scripts.penstock("sync")
    assert printing.texts() == ["kept"]


@pytest.mark.heavy
@pytest.mark.smoke
def test_ctrl_c_at_a_terminal(printing: Printing) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", f'{BEGIN}print("ready", flush=True)\ntime.sleep(60)'],
        env=printing.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert said.count("KeyboardInterrupt") == 1
    printing.wait_for("ready", "KeyboardInterrupt")


@pytest.mark.heavy
@pytest.mark.smoke
def test_printing_goes_on_at_once(printing: Printing) -> None:
    """A line is passed on while the script sleeps: nothing waits for more."""
    process = subprocess.Popen(
        [sys.executable, "-c", f'{BEGIN}print("now", flush=True)\nsys.stdin.read()\nprint("end")'],
        env=printing.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "now\n"
    printing.wait_for("now")
    reader = beside_of(process.pid)[-1]
    before, begun = _cpu_ticks(reader), time.monotonic()
    while time.monotonic() < begun + 1.5:
        time.sleep(0.1)
    assert _cpu_ticks(reader) == before  # at rest it costs nothing
    process.stdin.close()
    assert process.stdout.read() == "end\n"
    assert process.wait(30) == 0
    process.stdout.close()


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
