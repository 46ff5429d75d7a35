"""Penstock in notebooks: a run as the last expression of a cell is its link and live curves; the magics
`%%penstock` and `%%wandb` show those of the run that is active in the cell, or begins in it.

`import penstock` sets this up in a notebook's kernel; elsewhere, `%load_ext penstock` does.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import weakref
from importlib import import_module
from pathlib import Path
from typing import Any

from penstock.notices import NOTICES
from penstock.runs import session
from penstock.runs.cell_chart import CellChart
from penstock.runs.run import Run

__all__ = ["load_ipython_extension", "set_up", "show"]

_REFRESH_S = 2.0
_MAGICS = ("penstock", "wandb")


class _Shown:
    """A run's output in cells, kept up to date while the run goes on."""

    def __init__(self, run: Run) -> None:
        writer = run._writer
        self._chart = CellChart(writer.spool().folder if writer.has_spool else Path(os.devnull))
        self._run = weakref.ref(run)
        self._title, self._url = run.name, run.url
        self._handles: list[Any] = []
        self._thread: threading.Thread | None = None

    def add(self) -> None:
        """Show it in the current cell, too."""
        self._chart.look()
        handle = _ipython().display(self._output(), display_id=True)
        self._handles = [*self._handles[-3:], handle]
        if self._thread is None and not self._is_over():
            thread = threading.Thread(target=self._follow, name="penstock-cell", daemon=True)
            with contextlib.suppress(RuntimeError):  # no thread could be started
                thread.start()
                self._thread = thread

    def _follow(self) -> None:
        stop = threading.Event()
        while True:
            stop.wait(_REFRESH_S)
            with contextlib.suppress(Exception):  # the seam to the notebook
                is_over = self._is_over()
                if self._chart.look() or is_over:
                    self._update()
                if is_over:
                    self._thread = None
                    return

    def _update(self) -> None:
        for handle in self._handles:
            handle.update(self._output())

    def _output(self) -> Any:
        state = "ended" if self._is_over() else "running"
        return _ipython().HTML(self._chart.html(self._title, self._url, state))

    def _is_over(self) -> bool:
        run = self._run()
        return run is None or run.finished


_shown: weakref.WeakKeyDictionary[Run, _Shown] = weakref.WeakKeyDictionary()


def _ipython() -> Any:
    return import_module("IPython.display")  # only in notebooks


def show(run: Run) -> None:
    """Show a run's link and curves in the current cell, and keep them up to date."""
    if run.disabled:
        return
    if run not in _shown:
        _shown[run] = _Shown(run)
    _shown[run].add()


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext penstock`."""
    if getattr(shell, "_penstock_is_set_up", False):
        return
    shell._penstock_is_set_up = True
    shell.display_formatter.ipython_display_formatter.for_type(Run, show)
    shell.events.register("post_run_cell", _after_cell)
    for name in _MAGICS:
        shell.register_magic_function(_line_or_cell(shell), "line_cell", name)


def set_up() -> None:
    """The same, if this is a notebook's kernel. Raises nothing."""
    with contextlib.suppress(Exception):  # the seam to the notebook
        shell = sys.modules["IPython"].get_ipython()
        if shell is not None:
            load_ipython_extension(shell)


def _line_or_cell(shell: Any) -> Any:
    def magic(line: str, cell: str | None = None) -> None:
        """Show the run that is active, or begins in this cell, with live curves."""
        before = session.current()
        if before is not None:
            show(before)
        elif cell is None:
            NOTICES.say("there is no active run: call penstock.init() first")
        if cell is None:
            return
        found: list[Run | None] = [before]

        def follow(run: Run | None) -> None:
            if found and run is not None and run is not found[0]:
                found[0] = run
                show(run)

        session.on_change(follow)
        try:
            shell.run_cell(cell)
        finally:
            found.clear()
            session.forget_listener(follow)

    return magic


_told: weakref.WeakSet[Run] = weakref.WeakSet()


def _after_cell(result: Any) -> None:
    """An exception ends a cell, not the run: say so, once for each run."""
    error = getattr(result, "error_in_exec", None)
    run = session.current()
    if error is None or run is None or run.finished or run.disabled or run in _told:
        return
    _told.add(run)
    NOTICES.say(
        f"the cell ended with {type(error).__name__}; run {run.name} goes on with the next cell, until "
        "penstock.finish() or the next init()"
    )
