"""One child process of the supervisor: started in a session of its own, restarted when it dies."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock_common.lifecycle import die_with_parent

__all__ = ["Child", "Command"]

_LOG = logging.getLogger(__name__)
_LONGEST_PAUSE_S = 5.0
_HEALTHY_AFTER_S = 10.0


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. `fds` are inherited open files; output goes to `log`."""

    arguments: Sequence[str]
    environ: Mapping[str, str]
    log: Path
    fds: tuple[int, ...] = ()


class Child:
    """Keeps one process running until told to stop."""

    def __init__(self, name: str, command: Command, on_start: Callable[[], None]) -> None:
        self.name = name
        self.pid: int | None = None
        self.restarts = 0
        self._command = command
        self._on_start = on_start
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    async def keep_running(self) -> None:
        """Start it, and start it again when it ends, with a growing pause while it keeps failing."""
        failures = 0
        while not self._is_stopping():
            started = time.monotonic()
            await self._start()
            code = await self._wait()
            if self._is_stopping():
                return
            failures = 0 if time.monotonic() - started > _HEALTHY_AFTER_S else failures + 1
            self.restarts += 1
            pause_s = min(_LONGEST_PAUSE_S, 0.1 * 2 ** (failures - 1)) if failures else 0.0
            _LOG.warning("child_died name=%s code=%s restart_in_s=%.1f", self.name, code, pause_s)
            await asyncio.sleep(pause_s)

    def _is_stopping(self) -> bool:
        return self._stopping

    def stop(self) -> None:
        """Ask it to end; it is not started again."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it now."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        self._stopping = True
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

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
        self._on_start()

    async def _wait(self) -> int:
        if self._process is None:
            return 0
        code = await self._process.wait()
        self.pid = None
        return code
