"""`penstock up`: runs every part of Penstock as a child process, restarts them, stops them in order.

The supervisor holds the data folder's lock and the listening socket, which survive restarts of the
children. It serves nothing itself.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from penstock.command_codes import CommandCode
from penstock.errors import Rejected
from penstock_common.http.exporter import metrics_server
from penstock_common.process.listening import listening_socket, reachable_at
from penstock_common.process.metrics import SupervisorMetrics
from penstock_common.process.notify import without_notify
from penstock_common.process.settings import ServerSettings
from penstock_common.process.watchdog import Watchdog
from penstock_common.queue.redis_keys import RedisKeys
from penstock_server.child import Child, ProcessCommand
from penstock_server.child_watch import ChildWatch
from penstock_server.datafolder import DataFolder, write_private
from penstock_server.leftovers import identify
from penstock_server.memory import usable_bytes
from penstock_server.queue_file.keeper import QueueKeeper
from penstock_server.redis_server import config, find_server
from penstock_server.stop_order import stop_in_order
from penstock_storage.damage.salvage import recent_salvages

__all__ = ["Supervisor", "UpOptions", "listen"]

_LOG = logging.getLogger(__name__)
_READY_TIMEOUT_S = 60.0
_MAX_STARTS = 3
"""How often Redis may fail to start, for a reason that a restart does not fix, before it is reported."""


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The options of `penstock up`."""

    host: str = "127.0.0.1"
    port: int = 8080
    data: Path = Path("~/.local/share/penstock")
    gateways: int = 1
    workers: int = 1
    root_path: str = ""
    require_login: bool = False
    ready_file: Path | None = None


def listen(host: str, port: int) -> socket.socket:
    """The listening socket shared by all gateways. Port 0 selects a free one.

    Raises `Rejected` if the port is taken.
    """
    try:
        return listening_socket(host, port)
    except OSError as error:
        raise Rejected(
            f"cannot listen on {host}:{port}: {error.strerror}", code=CommandCode.PORT_TAKEN
        ) from None


class Supervisor:
    """Runs one installation in one data folder until it is stopped."""

    def __init__(
        self,
        options: UpOptions,
        settings: ServerSettings,
        folder: DataFolder,
        listener: socket.socket,
        watchdog: Watchdog,
    ) -> None:
        self._options = options
        self._settings = settings
        self._watchdog = watchdog
        self._folder = folder
        self._listener = listener
        self._children: list[Child] = []
        self._heard_on: dict[str, Path] = {}
        self._metrics = SupervisorMetrics()
        self._is_ready = False
        self._peers = folder.socket("x").parent
        self._queue = QueueKeeper(
            folder.queue, folder.logs / "redis.log", RedisKeys(settings.prefix), self._queue_damaged
        )
        host, port = listener.getsockname()[:2]
        self.url = f"http://{reachable_at(host)}:{port}{options.root_path}"

    async def run(self, stop: asyncio.Event, on_ready: Callable[[str, str], None]) -> None:
        """Start everything, call `on_ready(url, api_key)`, and run until `stop` is set.

        Raises `Rejected` if it does not become ready.
        """
        environ = self._environ()
        self._children = self._make_children(environ)
        watch = self._watch_children(environ)
        pages, page = (
            {"/condition": lambda: self._condition(watch)},
            str(self._folder.socket("up.metrics")),
        )
        looking = self._watchdog.spawn(watch.run(self._heard_on, self._watchdog), "children")
        running = [self._keep(child) for child in self._children]
        try:
            async with (
                metrics_server(self._metrics, watchdog=self._watchdog, pages=pages, socket=page),
                metrics_server(
                    self._metrics,
                    watchdog=self._watchdog,
                    listen=self._settings.metrics_listen,
                    peers=self._peers,
                ),
            ):
                with self._watchdog.extended():
                    await self._first_start(environ)
                    is_ready = await self._wait_ready(stop)
                if is_ready:
                    on_ready(self.url, self._folder.api_key.read_text())
                    self._is_ready = True
                    self._write_state()
                    self._watchdog.ready()
                    await stop.wait()
                    self._watchdog.stopping()
        finally:
            looking.cancel()
            # The gateways hold it too: once the last of them has closed it, connections are refused.
            self._listener.close()
            await stop_in_order(dict(zip(self._children, running, strict=True)), environ)
            self._forget_state()

    def _keep(self, child: Child) -> asyncio.Task[None]:
        return self._watchdog.spawn(child.keep_running(), child.part, ends=True)

    def _watch_children(self, environ: Mapping[str, str]) -> ChildWatch:
        folder = self._folder
        return ChildWatch(
            self._children,
            redis_socket=folder.socket("redis.sock"),
            patience_s=self._settings.patience_s,
            folders={
                "queue": folder.queue,
                "points": folder.points,
                "catalog": folder.root,
                "blobs": folder.blobs,
                "logs": folder.logs,
            },
            low_bytes=self._settings.disk_low_bytes,
        )

    def _environ(self) -> dict[str, str]:
        folder, options = self._folder, self._options
        memory = usable_bytes()
        queue_bytes = min(4 * 2**30, memory // 5)
        return {
            **without_notify(os.environ),
            "PENSTOCK_REDIS_URL": f"unix://{folder.socket('redis.sock')}",
            "PENSTOCK_STORE_URL": f"unix://{folder.socket('store.sock')}",
            "PENSTOCK_STORE_TOKEN": folder.secret("store_token"),
            "PENSTOCK_CATALOG_URL": f"sqlite+aiosqlite:///{folder.catalog}",
            "PENSTOCK_BLOBS_URL": f"file://{folder.blobs}",
            "PENSTOCK_SECRET": folder.secret("pepper"),
            "PENSTOCK_HOST": options.host,
            "PENSTOCK_ROOT_PATH": options.root_path,
            "PENSTOCK_REQUIRE_LOGIN": str(int(options.require_login)),
            "PENSTOCK_METRICS_PEERS": str(self._peers),
            # One process can listen there: this one, for all of them.
            "PENSTOCK_METRICS_LISTEN": "",
            "PENSTOCK_BACKLOG_BYTES": str(queue_bytes * 4 // 5),
            "PENSTOCK_MEMORY_BYTES": str(max(2**30, memory * 2 // 5)),
            "PENSTOCK_QUEUE_BYTES": str(queue_bytes),
        }

    def _make_children(self, environ: Mapping[str, str]) -> list[Child]:
        fd = self._listener.fileno()
        children = [self._redis(environ), self._store(environ)]
        for number in range(self._options.workers):
            name = f"worker-{number}"
            own = {
                "PENSTOCK_WORKER_NAME": name,
                "PENSTOCK_WORKER_FOLDER": str(self._folder.run / "workers"),
            }
            command = self._python(environ, name, "penstock_workers.main", own)
            children.append(self._child("worker", command, name))
        for number in range(self._options.gateways):
            name = f"gateway-{number}"
            command = self._python(
                environ,
                name,
                "penstock_server.gateway",
                {"PENSTOCK_LISTEN_FD": str(fd)},
                fds=(fd,),
            )
            children.append(self._child("gateway", command, name))
        return children

    def _child(
        self,
        name: str,
        command: ProcessCommand,
        part: str,
        on_end: Callable[[int], None] | None = None,
    ) -> Child:
        patience_s = self._settings.patience_s
        return Child(
            name, command, self._child_started, part=part, patience_s=patience_s, on_end=on_end
        )

    def _redis(self, environ: Mapping[str, str]) -> Child:
        folder = self._folder
        path = folder.run / "redis.conf"
        path.write_text(
            config(
                socket=folder.socket("redis.sock"),
                folder=folder.queue,
                maxmemory_bytes=int(environ["PENSTOCK_QUEUE_BYTES"]),
                log=folder.logs / "redis.log",
            )
        )
        command = ProcessCommand([find_server(), str(path)], environ, folder.logs / "redis.log")
        self._queue.starting()
        return self._child("redis", command, "redis", self._queue.ended)

    def _store(self, environ: Mapping[str, str]) -> Child:
        arguments = [
            "--path", str(self._folder.points),
            "--socket", str(self._folder.socket("store.sock")),
            "--memory-bytes", environ["PENSTOCK_MEMORY_BYTES"],
        ]  # fmt: skip
        module = "penstock_storage.embedded.store_process"
        command = self._python(environ, "store", module, {}, arguments=arguments)
        return self._child("store", command, "store")

    def _python(
        self,
        environ: Mapping[str, str],
        name: str,
        module: str,
        extra: Mapping[str, str],
        *,
        arguments: list[str] | None = None,
        fds: tuple[int, ...] = (),
    ) -> ProcessCommand:
        self._heard_on[name] = self._folder.socket(f"{name}.notify")
        own = {
            "PENSTOCK_METRICS_SOCKET": str(self._folder.socket(f"{name}.metrics")),
            "NOTIFY_SOCKET": str(self._heard_on[name]),
        }
        return ProcessCommand(
            [sys.executable, "-m", module, *(arguments or [])],
            {**environ, **own, **extra},
            self._folder.logs / f"{name}.log",
            fds,
            dumps=True,
        )

    async def _first_start(self, environ: Mapping[str, str]) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "penstock_server.first_start",
            str(self._folder.api_key),
            env=dict(environ),
        )
        if await process.wait() != 0:
            raise Rejected(
                "the catalog could not be opened", code=CommandCode.BAD_CATALOG, hint=self._hint()
            )

    async def _wait_ready(self, stop: asyncio.Event) -> bool:
        """True once every part responds; False if stopped before. Parts that load or upgrade a lot may take
        longer than the others."""
        deadline = time.monotonic() + _READY_TIMEOUT_S
        host, port = self._listener.getsockname()[:2]
        url = f"http://{reachable_at(host)}:{port}/readyz"
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while not stop.is_set():
                try:
                    async with session.get(url) as reply:
                        body = await reply.json()
                        if reply.status == 200 and body["workers"] >= self._options.workers:
                            return True
                except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
                    pass
                self._require_queue()
                deadline = max(deadline, *(child.extended_to for child in self._children))
                if time.monotonic() > deadline:
                    raise Rejected(
                        f"not ready after {_READY_TIMEOUT_S:.0f} s",
                        code=CommandCode.NOT_READY,
                        hint=self._hint(),
                    )
                await asyncio.sleep(0.05)
        return False

    def _require_queue(self) -> None:
        """Raises `Rejected` if Redis cannot start at all."""
        restarts = sum(each.restarts for each in self._children if each.name == "redis")
        if self._queue.trouble and restarts >= _MAX_STARTS:
            raise Rejected(
                f"Redis does not start: {self._queue.trouble}",
                code=CommandCode.QUEUE_FAILED,
                hint=self._hint(),
            )

    def _condition(self, watch: ChildWatch) -> dict[str, Any]:
        found = watch.condition()
        damages = {
            "queue_damaged": self._queue.damages(),
            "catalog_damaged": map(str, recent_salvages(self._folder.root)),
        }
        for code, texts in damages.items():
            found["problems"] += [{"code": code, "text": text, "subject": ""} for text in texts]
        return found

    def _queue_damaged(self, what: str) -> None:
        _LOG.error("queue_damaged detail=%s", what)
        self._metrics.queue_damages.inc()

    def _hint(self) -> str:
        return f"See the logs in {self._folder.logs}."

    def _child_started(self) -> None:
        for child in self._children:
            alike = [each for each in self._children if each.name == child.name]
            self._metrics.restarts.labels(child.name).value = sum(each.restarts for each in alike)
            self._metrics.hangs.labels(child.name).value = sum(each.hangs for each in alike)
        try:
            if self._is_ready:
                self._write_state()
            else:
                # Enough to find the children if this process is killed before it is ready.
                write_private(self._folder.state, json.dumps(self._state()))
        except OSError as error:  # a full disk must not prevent a child's restart
            _LOG.warning("state_not_written error=%s", error)

    def _state(self) -> dict[str, object]:
        children: dict[str, list[int]] = {}
        for child in self._children:
            if child.pid is not None:
                children.setdefault(child.name, []).append(child.pid)
        pids = [pid for each in children.values() for pid in each]
        return {
            "url": self.url,
            "pid": os.getpid(),
            "is_ready": self._is_ready,
            "children": children,
            "processes": identify(pids),
        }

    def _write_state(self) -> None:
        state = self._state()
        write_private(self._folder.state, json.dumps(state))
        if self._options.ready_file is not None:
            key = self._folder.api_key.read_text()
            shown = {
                "url": self.url,
                "api_key": key,
                "pid": state["pid"],
                "children": state["children"],
            }
            write_private(self._options.ready_file, json.dumps(shown))

    def _forget_state(self) -> None:
        self._folder.state.unlink(missing_ok=True)
        if self._options.ready_file is not None:
            self._options.ready_file.unlink(missing_ok=True)
