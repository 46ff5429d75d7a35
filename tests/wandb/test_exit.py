"""How scripts end under the official client, and what their runs' states say of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from support.logged import Logged
from support.up import Up, running_up, wait_until
from support.wandb_scripts import run_wandb, start_wandb

SILENT_AFTER_S = 5


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One whose runs count as crashed soon."""
    settings = {"PENSTOCK_SILENT_AFTER_S": str(SILENT_AFTER_S)}
    with running_up(tmp_path_factory.mktemp("up"), settings=settings) as installation:
        yield installation


def script(run: str, body: str) -> str:
    return f"""
import sys, time, wandb
run = wandb.init(project="exit", id={run!r})
run.log({{"loss": 1}})
{body}
"""


@pytest.mark.parametrize(
    ("run", "body", "code", "state"),
    [
        ("well", "run.finish()", 0, "finished"),
        ("unfinished", "", 0, "finished"),
        ("exception", "raise ValueError('no')", 1, "failed"),
        ("exit-3", "sys.exit(3)", 3, "failed"),
        ("told", "run.finish(exit_code=7)", 0, "failed"),
    ],
)
def test_exit_codes(up: Up, run: str, body: str, code: int, state: str) -> None:
    assert run_wandb(up, script(run, body)).code == code
    logged = Logged(up, "exit", run)
    assert logged.state() == state
    assert logged.column("loss") == [1]
    shown = {"told": 7}.get(run, code)
    assert logged.fields()["info"].get("exit_code") == shown


def test_an_interrupted_script_has_not_finished(up: Up) -> None:
    body = "print('ready')\ntime.sleep(60)"
    with start_wandb(up, script("interrupted", body)) as started:
        wait_until(lambda: started.says("ready"), 30)
        started.process.send_signal(signal.SIGINT)
        assert started.wait().code != 0
    logged = Logged(up, "exit", "interrupted")
    assert logged.state() in ("failed", "crashed", "killed")
    assert logged.column("loss") == [1]


def test_a_killed_script_has_crashed_once_it_is_silent(up: Up) -> None:
    body = "print('ready')\ntime.sleep(60)"
    with start_wandb(up, script("killed", body)) as started:
        wait_until(lambda: started.says("ready"), 30)
        logged = Logged(up, "exit", "killed")
        wait_until(lambda: logged.column("loss") == [1])
        started.kill()
    logged.wait_for("crashed", 60)


def test_a_preempted_run_is_not_taken_for_crashed(up: Up) -> None:
    body = "run.mark_preempting()\nprint('ready')\ntime.sleep(60)"
    with start_wandb(up, script("preempted", body)) as started:
        wait_until(lambda: started.says("ready"), 30)
        Logged(up, "exit", "preempted").wait_for("preempting")


@pytest.mark.heavy
@pytest.mark.timeout(180)
def test_a_run_is_stopped_from_elsewhere(up: Up) -> None:
    """The script gets a KeyboardInterrupt once its client has heard of it: within half a minute."""
    body = """
print("ready")
try:
    for i in range(600):
        run.log({"loss": i})
        time.sleep(0.1)
except KeyboardInterrupt:
    print("stopped")
    raise
"""
    stop = 'import wandb\nwandb.Api().run("local/exit/stopped").stop()'
    with start_wandb(up, script("stopped", body)) as started:
        wait_until(lambda: started.says("ready"), 30)
        Logged(up, "exit", "stopped").wait_for("running")
        run_wandb(up, stop).check()
        wait_until(lambda: started.says("stopped"), 70)
        assert started.wait().code != 0
    assert Logged(up, "exit", "stopped").state() != "running"
