"""`penstock sync --stay`: one node's sender for a user, which outlives that user's containers.

It is the shipper of a folder for as long as it runs: a container that starts meanwhile finds one and starts
none of its own, and what a killed one left behind is sent at once. If a container was first, this waits
until that one's shipper is gone.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import NoReturn

from penstock.settings import Settings
from penstock.shipper.daemon import Daemon
from penstock.shipper.election import hold_root
from penstock.spool.root import open_root

__all__ = ["run_node_agent"]

log = logging.getLogger(__name__)

_RETRY_S = 1.0
_FOREVER_S = float("inf")


def run_node_agent(folder: Path | None) -> NoReturn:
    """Send whatever comes to `folder` until SIGTERM or SIGINT, then exit with status 0. Logs to standard
    error. Raises PenstockError if the folder cannot be used."""
    settings = Settings.resolve(None, {})
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    agent = _NodeAgent()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, agent.leave)
    while not agent.is_leaving.is_set():
        root = open_root(folder or settings.root, settings.host_name)  # it may have been deleted
        agent.serve(root, settings.spool_limit_bytes)
        agent.is_leaving.wait(_RETRY_S)
    logging.shutdown()
    os._exit(0)  # without waiting for a request that hangs


class _NodeAgent:
    """Serves a root while no other shipper does."""

    def __init__(self) -> None:
        self.is_leaving = threading.Event()
        self._daemon: Daemon | None = None
        self._is_waiting = False

    def leave(self, number: int, frame: FrameType | None) -> None:
        """A signal handler: end soon. Data that is not sent yet stays where it is."""
        self.is_leaving.set()
        if self._daemon is not None:
            self._daemon.leave()

    def serve(self, root: Path, limit_bytes: int) -> None:
        """Be the shipper of `root` if there is none, until the root is gone or this leaves."""
        with hold_root(root, wait_s=0.0) as elected:
            if not elected:
                if not self._is_waiting:
                    log.info("%s: waiting for the shipper of a container to exit", root)
                self._is_waiting = True
                return
            self._is_waiting = False
            log.info("%s: sending", root)
            self._daemon = Daemon(root, idle_exit_s=_FOREVER_S, limit_bytes=limit_bytes)
            if self.is_leaving.is_set():  # since before there was a daemon to ask
                self._daemon.leave()
            self._daemon.run()
