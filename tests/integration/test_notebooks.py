"""In a notebook's kernel, a real one: one cell after another, as people run them."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from support.ledger import Ledger
from support.marks import SMOKE
from support.scripts import Scripts
from support.spools import wait_until

pytestmark = SMOKE


class Notebook:
    """A kernel, and cells that are run in it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._manager = KernelManager(kernel_name="python3")
        self._manager.start_kernel(env=environment)
        self._client: BlockingKernelClient = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=40)
        self.outputs: dict[str, str] = {}
        """What the display of each id shows now, as HTML."""

    def run(self, code: str) -> str:
        """What a cell printed, or the name of the exception that it ended with."""
        asked = self._client.execute(code)
        said: list[str] = []
        while True:
            try:
                message = self._client.get_iopub_msg(timeout=40)
            except queue.Empty:
                raise AssertionError(f"the kernel is silent: {said}") from None
            if message["parent_header"].get("msg_id") != asked:
                continue
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    said.append(content["text"])
                case "error":
                    said.append(content["ename"])
                case "display_data" | "update_display_data" if "text/html" in content["data"]:
                    self._show(content)
                case "status" if content["execution_state"] == "idle":
                    return "".join(said)
                case _:
                    pass

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Take what cells display after they have ended, until this is true."""
        while not condition():
            message = self._client.get_iopub_msg(timeout=20)
            if message["msg_type"] == "update_display_data":
                self._show(message["content"])

    def _show(self, content: dict[str, Any]) -> None:
        self.outputs[content["transient"]["display_id"]] = content["data"]["text/html"]

    @property
    def processes(self) -> list[psutil.Process]:
        """Those below the kernel."""
        kernel: Any = self._manager.provisioner
        return psutil.Process(kernel.pid).children(recursive=True)

    def restart(self) -> None:
        self._manager.restart_kernel(now=False)
        self._client.wait_for_ready(timeout=40)

    def kill(self) -> None:
        """As when it has used up the memory."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()

    def close(self) -> None:
        if not self._manager.has_kernel:
            return
        self._client.stop_channels()
        self._manager.shutdown_kernel()
        self._manager.cleanup_resources()


@pytest.fixture
def notebook(scripts: Scripts) -> Iterator[Notebook]:
    opened = Notebook(scripts.environment)
    yield opened
    opened.close()


def begin(run: str) -> str:
    return f'run = penstock.init(project="p", id="{run}"); penstock.log({{"a": 1.0}})'


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_cells(notebook: Notebook, ledger: Ledger) -> None:
    notebook.run("import penstock")
    notebook.run(begin("one"))
    said = notebook.run(begin("two"))
    assert "still active" not in said
    wait_until(lambda: ledger.states().get("one") == ("finished", 0))
    assert "ZeroDivisionError" in notebook.run("1 / 0")
    assert "SystemExit" in notebook.run("import sys; sys.exit(3)")
    assert "KeyboardInterrupt" in notebook.run("raise KeyboardInterrupt")
    assert notebook.run("print(penstock.run is run)") == "True\n"
    notebook.run('penstock.log({"b": 2.0})')
    said = notebook.run(begin("three"))
    wait_until(lambda: ledger.states().get("two") == ("finished", 0))
    assert ("b", 1) in ledger.points()
    said = notebook.run('other = penstock.init(project="p", id="four", reinit="return_previous")')
    assert "still active" in said
    notebook.run(
        'other = penstock.init(project="p", id="five", reinit="create_new"); other.finish()'
    )
    assert notebook.run("print(penstock.run is run)") == "True\n"
    said = notebook.run("with run: 1 / 0")
    assert "ZeroDivisionError" in said
    wait_until(lambda: ledger.states().get("three") == ("failed", 1))
    notebook.run(begin("six"))
    notebook.restart()
    wait_until(lambda: ledger.states().get("six") == ("finished", 0))
    notebook.run("import penstock")
    notebook.run(begin("seven"))
    notebook.close()
    wait_until(lambda: ledger.states().get("seven") == ("finished", 0))
    assert set(ledger.states()) == {"one", "two", "three", "five", "six", "seven"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_run_in_a_cell_is_its_link_and_live_curves(notebook: Notebook, ledger: Ledger) -> None:
    notebook.run("import penstock as wandb")
    notebook.run(
        "%%wandb\nrun = wandb.init(project='p', id='one', name='a<b')\n"
        "for step in range(3000): run.log({'loss': 1 / (step + 1), 'acc<': step, 'text': 'x'})"
    )
    (shown,) = notebook.outputs
    notebook.wait_for(lambda: "steps 0–2999" in notebook.outputs[shown])
    assert notebook.outputs[shown].count("<polyline") == 2
    assert "run=one" in notebook.outputs[shown]
    assert "a&lt;b</a> · running" in notebook.outputs[shown]
    assert "acc&lt;" in notebook.outputs[shown]
    notebook.run("run")
    assert len(notebook.outputs) == 2
    # It follows what other cells log.
    notebook.run("run.log({'loss': 5.0}, step=4000)")
    notebook.wait_for(lambda: all("steps 0–4000" in each for each in notebook.outputs.values()))
    said = notebook.run("%%penstock\n1 / 0")
    assert "ZeroDivisionError" in said
    assert "run a<b goes on with the next cell" in said
    assert "goes on" not in notebook.run("1 / 0")
    notebook.run("run.finish()")
    notebook.wait_for(lambda: all("· ended" in each for each in notebook.outputs.values()))
    assert "no active run" in notebook.run("%penstock")
    assert notebook.run("wandb.init(mode='disabled')") == ""
    assert len(notebook.outputs) == 3
    wait_until(lambda: ledger.states() == {"one": ("finished", 0)})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_killed_kernel_leaves_nothing_behind(notebook: Notebook, ledger: Ledger) -> None:
    notebook.run("import penstock")
    notebook.run(begin("one"))
    notebook.run("run")
    wait_until(lambda: ("a", 0) in ledger.points())
    # The shipper is no child of the kernel's.
    wait_until(lambda: not [each for each in notebook.processes if each.status() != "zombie"])
    notebook.run("%load_ext penstock")
    notebook.kill()
    wait_until(lambda: ledger.states().get("one", ("", 0))[0] == "crashed")


def test_a_script_that_only_has_ipython_is_no_notebook(scripts: Scripts, ledger: Ledger) -> None:
    said = scripts.run(
        "import IPython, penstock\n"
        f"{begin('one')}\n"
        "assert penstock.init(project='p') is run\n"
        "import sys; sys.exit(3)",
        status=3,
    )
    assert "still active" in said
    assert ledger.states() == {"one": ("failed", 3)}


def test_what_cells_print_is_recorded(scripts: Scripts, ledger: Ledger) -> None:
    """By Python's own streams, since descriptors lead to the terminal of the kernel."""
    notebook = Notebook(scripts.environment | {"PENSTOCK_CONSOLE": "auto"})
    try:
        notebook.run("import sys, penstock\nrun = penstock.init(project='p', id='r')")
        assert notebook.run("print('in a cell')\nprint('an error', file=sys.stderr)")
        notebook.run("run.finish()\nprint('afterwards')")
        assert notebook.run("print('as before')") == "as before\n"
    finally:
        notebook.close()

    def recorded() -> dict[str, str]:
        return {each["text"]: each["stream"] for each in ledger.records("console")}

    wait_until(lambda: {"in a cell", "an error"} <= recorded().keys())
    assert recorded()["in a cell"] == "stdout"
    assert recorded()["an error"] == "stderr"
    assert not {"afterwards", "as before"} & recorded().keys()
