"""How a run ends: what is pending is written, the spool is released, and the server's answer awaited."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from penstock.notices import NOTICES
from penstock.runs.described import Described
from penstock.runs.lookup import replaced_points
from penstock.runs.places import sync_command
from penstock.runs.unfinished import note_finished

if TYPE_CHECKING:
    from penstock.runs.observers import Observers
    from penstock.runs.sending import Sending
    from penstock.spool.spool_folder import Spool
    from penstock.spool.writer import Writer

__all__ = ["Ending"]


class Ending(Described):
    """The last part of a run's life. Nothing here raises."""

    is_kept: bool
    _parent: str
    _writer: Writer
    _sending: Sending
    _observers: Observers

    @property
    def writer(self) -> str:
        raise NotImplementedError

    @property
    def is_primary(self) -> bool:
        raise NotImplementedError

    @property
    def is_of_this_process(self) -> bool:
        raise NotImplementedError

    def _end(self, exit_code: int, timeout_s: float, *, quiet: bool) -> None:
        deadline = time.monotonic() + timeout_s
        self._observers.finish()
        if not self._slow_path.drain(timeout_s):
            NOTICES.warn("drain", "some values were not ready in time and are not logged")
        self._slow_path.repairs.flush()
        writer = self.writer  # unknown once it is closed
        spool = self._close(exit_code)
        if self._writer.dropped_rows:
            NOTICES.say(f"{self._writer.dropped_rows} logged rows were dropped in total")
        if spool is None:
            return
        if self.settings.mode == "offline":
            command = sync_command(spool.root)
            NOTICES.say(f"run {self._name} is kept in {spool.folder}; send it with: {command}")
            return
        begun = spool.first.sequence
        progress = self._sending.wait(spool.folder, begun, deadline)
        if outcome := self._sending.outcome(spool.folder, begun, progress):
            NOTICES.say(f"run {self._name}: {outcome}")
        elif not quiet:
            NOTICES.say(f"run {self._name} is stored: {self.url}")
        if not outcome:
            self._say_what_was_replaced(progress.replaced, writer)

    def _say_what_was_replaced(self, replaced: int, writer: str) -> None:
        """`replaced`: points that were not even sent; others may have been replaced on the server."""
        if self._writer.lower_rows:
            replaced += replaced_points(self.settings, self.id, writer) or 0
        if replaced:
            NOTICES.say(
                f"run {self._name}: {replaced} points were replaced by later ones with the same key and"
                " step; to keep all, count the steps on, or use a run or other keys for each fold"
            )

    def _close(self, exit_code: int) -> Spool | None:
        """Write the last records and release the spool; returns it."""
        try:
            if not self.is_kept or not (self.is_of_this_process or self._writer.has_spool):
                return None  # nothing is stored, or a forked child logged nothing
            if self.is_primary or not self._parent:  # not a forked child
                state = "finished" if exit_code == 0 else "failed"
                self._recorder.state(state, is_primary=self.is_primary, exit_code=exit_code)
            spool = self._writer.spool()
            self._writer.close()
            if self.is_primary and exit_code == 0:
                note_finished(spool.root, self.settings)
        except Exception as error:  # the seam: finish never raises
            NOTICES.warn("close", f"the spool could not be closed: {error!r}")
            return None
        return spool
