"""What a run records by itself, besides what is logged: one observer for each kind.

Every process that starts a run, or takes part in one as a rank, attaches them once; a forked child or a process
that was handed a run attaches none. An observer never raises and never makes the script wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from penstock.notices import NOTICES
from penstock.runs.system_metrics import observe_system
from penstock.runs.tapped import tap_into

if TYPE_CHECKING:
    from penstock.runs.run import Run

__all__ = ["Observer", "Observers"]


class Observer(Protocol):
    """Watches one thing on behalf of one run."""

    def finish(self) -> None:
        """Called once, before the run's spool is closed: hand over what is still pending, in bounded time."""

    def forget_after_fork(self) -> None:
        """Called in a forked child: let go of what belongs to the parent."""


_KINDS: tuple[tuple[str, Callable[[Run], Observer | None]], ...] = (
    ("console output", tap_into),
    ("system metrics", observe_system),
)
"""By name: attaches an observer, or returns None if there is nothing to observe."""


class Observers:
    """Those of one run."""

    def __init__(self) -> None:
        self._attached: dict[str, Observer] = {}
        self._fault: Callable[[str, BaseException], None] = lambda what, error: None

    def attach(self, run: Run) -> None:
        self._fault = run._slow_path.repairs.fault
        for name, attach in _KINDS:
            try:
                observer = attach(run)
            except OSError as error:  # no room for a process, a thread or a file
                NOTICES.warn(f"observe {name}", f"{name} is not recorded: {error!r}")
            except Exception as error:  # the seam: training continues in any case
                self._fault(name, error)
            else:
                if observer is not None:
                    self._attached[name] = observer

    def finish(self) -> None:
        self._each("finish")

    def forget_after_fork(self) -> None:
        self._each("forget_after_fork")
        self._attached.clear()

    def _each(self, method: str) -> None:
        for name, observer in self._attached.items():
            try:
                getattr(observer, method)()
            except Exception as error:  # the seam, as above
                self._fault(name, error)
