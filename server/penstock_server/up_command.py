"""`penstock up` and `penstock down`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from penstock.credentials import default_url, store_key
from penstock.errors import Rejected
from penstock_common.process import logs
from penstock_common.process.lifecycle import stop_on_signals
from penstock_common.process.settings import GatewaySettings, load
from penstock_common.process.watchdog import watchdog_of
from penstock_server.datafolder import DataFolder
from penstock_server.leftovers import end_leftovers
from penstock_server.orphans import reaping_orphans
from penstock_server.supervisor import Supervisor, UpOptions, listen

__all__ = ["down", "options_of", "up"]

_DOWN_TIMEOUT_S = 45.0
_DETACH_TIMEOUT_S = 70.0
_PREFIX = "penstock: "


def up(arguments: argparse.Namespace) -> int:
    """Start everything and stay until it is stopped; returns the exit status."""
    if arguments.gateways < 1 or arguments.workers < 1:
        return _fail("--gateways and --workers must be at least 1")
    if arguments.detach:
        return _detach(arguments)
    folder = DataFolder(arguments.data)
    try:
        _log_as_up()
        settings = load(GatewaySettings, environ=os.environ)
        options = options_of(arguments, settings)
        folder.open()
        _log_as_up(folder.secret("pepper"), folder.secret("store_token"))
        end_leftovers(folder.state)
        listener = listen(options.host, options.port)
        watchdog = watchdog_of(settings.patience_s)
        supervisor = Supervisor(options, settings, folder, listener, watchdog)
        return asyncio.run(watchdog.run(_supervise(supervisor, folder)))
    except Rejected as error:
        return _fail(f"{error}\n{error.hint}" if error.hint else str(error))
    finally:
        folder.close()


def options_of(arguments: argparse.Namespace, settings: GatewaySettings) -> UpOptions:
    """What the flags say, and the environment where they say nothing."""
    host, port, root_path = arguments.host, arguments.port, arguments.root_path
    return UpOptions(
        host=settings.host if host is None else host,
        port=settings.port if port is None else port,
        data=arguments.data,
        gateways=arguments.gateways,
        workers=arguments.workers,
        root_path=_root_path(settings.root_path if root_path is None else root_path),
        require_login=arguments.require_login or settings.require_login,
        ready_file=arguments.ready_file.resolve() if arguments.ready_file else None,
    )


def _log_as_up(*secrets: str) -> None:
    logs.setup("up", os.environ.get("PENSTOCK_LOG_LEVEL", "WARNING"), secrets=secrets)


async def _supervise(supervisor: Supervisor, folder: DataFolder) -> int:
    stop = stop_on_signals(asyncio.get_running_loop())
    started = time.monotonic()

    def on_ready(url: str, api_key: str) -> None:
        is_default = _remember(url, api_key)
        # Anything but a terminal may be a log.
        shown = api_key if sys.stdout.isatty() else _where_key_is(folder)
        took_s = time.monotonic() - started
        _welcome(url, shown, folder.root, took_s, is_default=is_default, stop="Ctrl-C")

    with reaping_orphans():
        await supervisor.run(stop, on_ready)
    return 0


def _remember(url: str, api_key: str) -> bool:
    """Log this user's scripts in to this server; returns whether it is their default. A server that
    a person chose before stays the default."""
    try:
        store_key(url, api_key)
        return default_url() == url
    except (OSError, ValueError, RuntimeError) as error:
        logging.getLogger(__name__).warning("login_not_stored error=%s", error)
        return False


def _where_key_is(folder: DataFolder) -> str:
    return f"in {folder.api_key}"


def _welcome(
    url: str, api_key: str, data: Path, took_s: float, *, is_default: bool, stop: str
) -> None:
    login = f"penstock login --host {url}"
    how = f"this user is already logged in; elsewhere: {login}" if is_default else f"after: {login}"
    print(
        f"""
  Penstock is up ({took_s:.1f} s)

    Page      {url}
    API key   {api_key}
    Data      {data}

  Log your first run from another terminal:

    penstock demo                     a small sweep on real data, live on the page

  or in your own script ({how}):

    import penstock as wandb
    run = wandb.init(project="first", config={{"lr": 1e-3}})
    run.log({{"loss": 0.5}})

  {stop} stops everything; your data is kept.
""",
        flush=True,
    )


def _detach(arguments: argparse.Namespace) -> int:
    folder = DataFolder(arguments.data)
    folder.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.logs.mkdir(exist_ok=True, mode=0o700)
    command = [sys.executable, "-m", "penstock.cli", *(a for a in sys.argv[1:] if a != "--detach")]
    log_path, started = folder.logs / "up.log", time.monotonic()
    with log_path.open("ab") as log:
        before = log.tell()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    while (took_s := time.monotonic() - started) < _DETACH_TIMEOUT_S:
        if url := _ready_url(folder, process.pid):
            api_key = folder.api_key.read_text()
            shown = api_key if sys.stdout.isatty() else _where_key_is(folder)
            is_default = default_url() == url
            _welcome(url, shown, folder.root, took_s, is_default=is_default, stop="`penstock down`")
            return 0
        if process.poll() is not None:
            said = log_path.read_bytes()[before:].decode(errors="replace").strip()
            said = said.removeprefix(_PREFIX)
            return _fail(said or f"it exited immediately; see {log_path}")
        time.sleep(0.05)
    return _fail(f"not ready after {_DETACH_TIMEOUT_S:.0f} s; see {log_path}")


def _ready_url(folder: DataFolder, pid: int) -> str:
    """The address of the installation that this process runs, once it is ready; before, it is empty."""
    try:
        state = json.loads(folder.state.read_text())
    except (OSError, ValueError):
        return ""
    return str(state["url"]) if state["pid"] == pid and state.get("is_ready") else ""


def down(arguments: argparse.Namespace) -> int:
    """Stop what was started with `--detach`; returns the exit status."""
    folder = DataFolder(arguments.data)
    try:
        pid = int(json.loads(folder.state.read_text())["pid"])
        process = psutil.Process(pid)
    except (OSError, ValueError, KeyError, psutil.Error):
        print(f"Penstock is not running on {folder.root}.")
        return 0
    process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_TIMEOUT_S
    while _is_alive(process):
        if time.monotonic() > deadline:
            return _fail(f"process {pid} did not stop in {_DOWN_TIMEOUT_S:.0f} s")
        time.sleep(0.05)
    print(f"Stopped. Your data is kept in {folder.root}.")
    return 0


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _root_path(text: str) -> str:
    path = text.strip("/")
    return f"/{path}" if path else ""


def _fail(message: str) -> int:
    print(f"{_PREFIX}{message}", file=sys.stderr)
    return 1
