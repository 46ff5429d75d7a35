"""Processes of the servers that start in milliseconds: forks of one that has imported their modules, which
takes longer than most tests do. `penstock up` and the heavy tests start them as users do."""

from __future__ import annotations

import asyncio
import atexit
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from penstock import failpoints

__all__ = ["ForkedProcess", "start_forked"]

_MODULES = ("penstock_server.gateway", "penstock_workers.main")
_MESSAGE_BYTES = 2**17


class ForkedProcess:
    """Like `asyncio.subprocess.Process`, as far as tests need it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended: Future[int] = Future()

    @property
    def returncode(self) -> int | None:
        return self._ended.result() if self._ended.done() else None

    def ended(self, code: int) -> None:
        self._ended.set_result(code)

    def send_signal(self, number: signal.Signals) -> None:
        """Raises `ProcessLookupError` if it has ended."""
        if self._ended.done():
            raise ProcessLookupError
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Its exit status."""
        return await asyncio.shield(asyncio.wrap_future(self._ended))


class _Parent:
    """The process that forks, as this one sees it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "support.forked", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        self._lock = threading.Lock()
        self._started: Future[ForkedProcess] = Future()
        self._running: dict[int, ForkedProcess] = {}
        threading.Thread(target=self._hear, daemon=True).start()
        atexit.register(self.end)

    def start(self, module: str, environ: Mapping[str, str]) -> ForkedProcess:
        with self._lock:
            self._started = Future()
            request = json.dumps({"module": module, "environ": dict(environ)}).encode()
            socket.send_fds(self._socket, [request], [1, 2])
            return self._started.result(30)

    def end(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._process.wait()

    def _hear(self) -> None:
        while reply := self._socket.recv(_MESSAGE_BYTES):
            said: dict[str, int] = json.loads(reply)
            pid = said["pid"]
            if "code" in said:
                self._running.pop(pid).ended(said["code"])
            else:
                self._running[pid] = ForkedProcess(pid)
                self._started.set_result(self._running[pid])


_PARENTS: list[_Parent] = []


async def start_forked(module: str, environ: Mapping[str, str]) -> ForkedProcess:
    """Like `python -m module` in this environment, for a module of `_MODULES`."""
    if not _PARENTS:
        _PARENTS.append(_Parent())
    return await asyncio.to_thread(_PARENTS[0].start, module, environ)


def _serve(door: socket.socket) -> dict[str, Any] | None:
    """Fork for each request until the other side is gone; a child returns with what it shall be."""

    def reap(*_: object) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            door.send(json.dumps({"pid": pid, "code": os.waitstatus_to_exitcode(status)}).encode())

    signal.signal(signal.SIGCHLD, reap)
    while True:
        message, fds, _, _ = socket.recv_fds(door, _MESSAGE_BYTES, 2)
        if not message:
            return None
        # That it has started is said before that it has ended.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        if (pid := os.fork()) == 0:
            return _begun(door, message, fds)
        door.send(json.dumps({"pid": pid}).encode())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        for fd in fds:
            os.close(fd)


def _begun(door: socket.socket, message: bytes, fds: list[int]) -> dict[str, Any]:
    """In the child: what it shall be, with the standard output and error of who asked."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    door.close()
    for number, fd in zip((1, 2), fds, strict=True):
        os.dup2(fd, number)
        os.close(fd)
    request: dict[str, Any] = json.loads(message)
    return request


def main() -> None:
    modules = {name: importlib.import_module(name) for name in _MODULES}
    gc.collect()
    gc.freeze()
    request = _serve(socket.socket(fileno=int(sys.argv[1])))
    if request is None:
        return
    os.environ.clear()
    os.environ.update(request["environ"])
    failpoints._FOLDER = os.environ.get("PENSTOCK_FAILPOINTS", "")
    sys.argv = [request["module"]]
    modules[request["module"]].main()


if __name__ == "__main__":
    main()
