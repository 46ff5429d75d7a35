"""One child process of the supervisor: started in its own session, restarted when it dies, and replaced
when it stops responding."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from penstock_common.process.lifecycle import die_with_parent
from penstock_common.process.notify import ALIVE, EXTEND, EXTEND_S, READY
from penstock_common.process.watchdog import WatchedPart

__all__ = ["Child", "ProcessCommand"]

_LOG = logging.getLogger(__name__)
_MAX_PAUSE_S, _MAX_READY_PAUSE_S = 5.0, 1.0
"""One that was ready did some work: a worker that a bad batch ends isolates it step by step."""
_HEALTHY_AFTER_S = 10.0
_START_S = 60.0
"""How long it may take from its start to its first heartbeat."""
_DUMP_S = 0.3
"""How long a hung child has to dump its stacks before it is killed."""


@dataclass(frozen=True, slots=True)
class ProcessCommand:
    """What to run. `fds` are inherited open files; output goes to `log`. `dumps`: on SIGQUIT it writes
    its stacks there."""

    arguments: Sequence[str]
    environ: Mapping[str, str]
    log: Path
    fds: tuple[int, ...] = ()
    dumps: bool = False


class Child:
    """Keeps one process running until it is stopped.

    `name` is its kind, `part` identifies it. With a patience, it must send heartbeats (`record_heartbeat`) that
    often.
    """

    def __init__(
        self,
        name: str,
        command: ProcessCommand,
        on_start: Callable[[], None],
        *,
        part: str = "",
        patience_s: float = 0.0,
        on_end: Callable[[int], None] | None = None,
    ) -> None:
        """`on_end` receives the exit status, in a thread, before the next start."""
        self.name = name
        self.part = part or name
        self.pid: int | None = None
        self.restarts = 0
        self.hangs = 0
        self.changed_at = time.time()
        self.extended_to = 0.0
        """Until when (monotonic clock, s) its start may take, as it says."""
        self._command = command
        self._on_start = on_start
        self._on_end = on_end
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._patience_s = patience_s
        self._pulse = WatchedPart(self.part, patience_s)
        self._is_ready = False
        self._state = "down"

    async def keep_running(self) -> None:
        """Start it and restart it when it ends, with a growing pause while it keeps failing."""
        failures = 0
        while not self._is_stopping():
            started = time.monotonic()
            try:
                await self._start()
                code = await self._wait()
                ended = str(code)
                if self._on_end is not None:
                    await asyncio.to_thread(self._on_end, code)
            except OSError as error:  # no space for its log, no memory for another process, …
                ended = str(error)
            if self._is_stopping():
                return
            failures = 0 if time.monotonic() - started > _HEALTHY_AFTER_S else failures + 1
            self.restarts += 1
            longest_s = _MAX_READY_PAUSE_S if self._is_ready else _MAX_PAUSE_S
            pause_s = min(longest_s, 0.1 * 2 ** (failures - 1)) if failures else 0.0
            _LOG.warning("child_died name=%s code=%s restart_in_s=%.1f", self.part, ended, pause_s)
            await asyncio.sleep(pause_s)

    def record_heartbeat(self, lines: Collection[str]) -> None:
        """Record a heartbeat, possibly the one that it is ready, or that its start takes longer."""
        if EXTEND in lines:
            self.extended_to = time.monotonic() + EXTEND_S
        if ALIVE in lines or READY in lines:
            self._is_ready |= READY in lines
            self._pulse.beat()
            self._note()

    def look(self, passed_s: float) -> None:
        """Advance the time by this much; replaces the process if it has been silent for too long."""
        if self.pid is not None and not self._stopping and self._patience_s > 0:
            self._pulse.wait(passed_s)
            if self._pulse.is_hung:
                self._replace()
        self._note()

    @property
    def state(self) -> str:
        """`down`, `starting`, `running` or `silent`."""
        if self.pid is None:
            return "down"
        if self._is_ready and 0 < self._patience_s / 2 < self._pulse.silent_s:
            return "silent"
        return "running" if self._is_ready else "starting"

    def _note(self) -> None:
        if self.state != self._state:
            self._state = self.state
            self.changed_at = time.time()

    def _is_stopping(self) -> bool:
        return self._stopping

    def stop(self) -> None:
        """Ask it to end; it will not be restarted."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it now."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        self._stopping = True
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    def _replace(self) -> None:
        process = self._process
        if process is None:
            return
        _LOG.error("child_hung name=%s silent_s=%.1f", self.part, self._pulse.silent_s)
        self.hangs += 1
        self._pulse.beat(allow_s=_START_S)

        def end() -> None:
            with suppress(ProcessLookupError):
                process.kill()

        if self._command.dumps:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGQUIT)
        asyncio.get_running_loop().call_later(_DUMP_S, end)

    async def _start(self) -> None:
        command = self._command
        with command.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command.arguments,
                env=dict(command.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=command.fds,
                preexec_fn=die_with_parent,
            )
        self.pid = self._process.pid
        self._is_ready = False
        self._pulse.beat(allow_s=_START_S)
        self._note()
        self._on_start()

    async def _wait(self) -> int:
        if self._process is None:
            return 0
        code = await self._process.wait()
        self.pid = None
        self._note()
        return code
