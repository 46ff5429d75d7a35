"""A pod: one process of Penstock as process 1 of its container, on a host of its own, and its kubelet.

The kubelet asks the probes with a period, a time-out and a failure threshold, starts the container again when
its process ends or its liveness fails, and ends it with SIGTERM, a grace period, and SIGKILL.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil
from support.pods.network import Host

__all__ = ["GRACE_S", "Ended", "Pod", "Probes", "penstock"]

GRACE_S = 45.0
_BACK_OFF_S = (0.0, 0.5, 1.0, 2.0)
"""Before each restart; Kubernetes' own are ten times as long, which would only be waited for."""


@dataclass(frozen=True)
class Probes:
    """As in a manifest. The start may take `start_s`; until then liveness is not asked."""

    port: int
    live_port: int
    ready_path: str = "/readyz"
    live_path: str = "/healthz"
    period_s: float = 0.5
    timeout_s: float = 5.0
    failures: int = 3
    start_s: float = 60.0


@dataclass(frozen=True)
class Ended:
    """How a container ended. `was_killed`: the grace period was over. The code is 1 after SIGKILL, which is how
    `unshare` says it."""

    code: int
    took_s: float = 0.0
    was_killed: bool = False


@dataclass
class Pod:
    """Use `start`. `is_ready` is what the kubelet last found, `ended` how each of its containers ended;
    `live_failures`: how often its liveness failed so many times in a row that it was killed for it."""

    name: str
    host: Host
    arguments: Sequence[str]
    environ: Mapping[str, str]
    probes: Probes
    log: Path
    wrapper: Sequence[str] = ()
    """A command that starts another one, outside of the container."""
    cwd: Path | None = None
    is_live: bool = False
    is_ready: bool = False
    is_terminating: bool = False
    is_lost: bool = False
    """Whether its node is, and the kubelet with it."""
    was_ready: bool = False
    live_failures: int = 0
    unready_s: float = 0.0
    ended: list[Ended] = field(default_factory=list)
    _process: asyncio.subprocess.Process | None = None
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return self.host.address

    @property
    def pid(self) -> int:
        """Of the container's process 1, as seen from outside."""
        assert self._process is not None
        outer = self._process.pid
        children = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
        return int(children[0])

    async def start(self, timeout_s: float = 60.0) -> Pod:
        """Start the container and its kubelet, and wait until it is ready."""
        self.begin()
        await self.becomes_ready(timeout_s)
        return self

    def begin(self) -> None:
        """Start the container and its kubelet."""
        self._tasks = [asyncio.create_task(self._keep()), asyncio.create_task(self._probe())]

    def again(self) -> Pod:
        """The next pod of this name, on the same host, with the same volumes."""
        return Pod(
            self.name, self.host, self.arguments, self.environ, self.probes, self.log, self.wrapper,
            self.cwd,
        )  # fmt: skip

    async def becomes_ready(self, timeout_s: float = 60.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not self.is_ready:
                assert not self._tasks[0].done() or self.is_terminating, self._tasks[0].result()
                await asyncio.sleep(0.02)

    async def becomes_unready(self, timeout_s: float = 60.0) -> None:
        async with asyncio.timeout(timeout_s):
            while self.is_ready:
                await asyncio.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        """Send it to process 1."""
        with suppress(ProcessLookupError, FileNotFoundError, IndexError):
            os.kill(self.pid, number)

    def freeze(self) -> None:
        """Stop every process of the container; `thaw` lets them go on."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    async def delete(self, grace_s: float = GRACE_S) -> Ended:
        """SIGTERM, then SIGKILL after the grace period (0: at once); returns how it ended."""
        self.is_terminating = True
        process, started = self._process, time.monotonic()
        assert process is not None
        was_killed = grace_s == 0
        if process.returncode is None:
            self.send(signal.SIGKILL if was_killed else signal.SIGTERM)
        try:
            code = await asyncio.wait_for(asyncio.shield(process.wait()), max(grace_s, 10))
        except TimeoutError:
            was_killed = True
            self.send(signal.SIGKILL)
            code = await process.wait()
        took_s = time.monotonic() - started
        await self._stop_kubelet()
        self.ended[-1:] = [Ended(code, took_s, was_killed)]
        return self.ended[-1]

    async def end(self) -> None:
        """Leave nothing behind, whatever state it is in."""
        self.is_terminating = True
        if self._process is not None and self._process.returncode is None:
            with suppress(IndexError, OSError):
                self._signal_all(signal.SIGKILL)
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await self._stop_kubelet()

    # -- the kubelet

    async def _keep(self) -> None:
        """Start the container again whenever it ends."""
        for pause_s in (*_BACK_OFF_S, *(_BACK_OFF_S[-1:] * 100)):
            await asyncio.sleep(pause_s)
            if self._is_over():
                return
            with self.log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *self.wrapper,
                    *self.host.enter,
                    # As process 1, with a /proc that shows nothing else, as in a container.
                    *("unshare", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--"),
                    *self.arguments,
                    env=dict(self.environ),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    cwd=self.cwd,
                )
            code = await self._process.wait()
            self.is_ready = False
            self.ended.append(Ended(code))
            if self._is_over():
                return
        raise AssertionError(f"{self.name} ended a hundred times")

    def _is_over(self) -> bool:
        return self.is_terminating

    async def _probe(self) -> None:
        timeout = aiohttp.ClientTimeout(total=self.probes.timeout_s)
        connector = aiohttp.TCPConnector(force_close=True)
        ready, live, restarts, has_started = 0, 0, 0, False
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            while True:
                if restarts != len(self.ended):  # another container
                    restarts, has_started, live, ready = len(self.ended), False, 0, 0
                began = time.monotonic()
                is_ready, is_live = await asyncio.gather(
                    self._asked(session, self.probes.port, self.probes.ready_path),
                    self._asked(session, self.probes.live_port, self.probes.live_path),
                )
                ready = 0 if is_ready else ready + 1
                if is_ready or ready >= self.probes.failures:
                    self.is_ready = is_ready
                    self.was_ready |= is_ready
                self.is_live = is_live
                has_started |= is_live
                live = 0 if is_live or not has_started else live + 1
                if live >= self.probes.failures and not (self.is_terminating or self.is_lost):
                    self.live_failures += 1
                    self.send(signal.SIGKILL)
                    live = 0
                await asyncio.sleep(self.probes.period_s)
                if not self.is_ready and self.was_ready:
                    self.unready_s += time.monotonic() - began

    async def _asked(self, session: aiohttp.ClientSession, port: int, path: str) -> bool:
        url = f"http://{self.address}:{port}{path}"
        try:
            async with session.get(url) as reply:
                return reply.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def _stop_kubelet(self) -> None:
        self.is_ready = False
        for task in self._tasks:
            if task is not self._tasks[0]:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _signal_all(self, number: signal.Signals) -> None:
        first = psutil.Process(self.pid)
        for process in [first, *first.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)


def penstock(*arguments: str) -> list[str]:
    """The command line of the image's entry point."""
    return [sys.executable, "-m", "penstock.cli", *arguments]
