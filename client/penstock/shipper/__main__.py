"""`python -m penstock.shipper ROOT`: sends everything under ROOT, then exits."""

from __future__ import annotations

import argparse
import logging
import logging.handlers
import os
import signal
from pathlib import Path

from penstock.shipper.election import ELECTION_S, hold_root

_IDLE_EXIT_S = 11 * 60.0
"""Longer than finished spools are kept, to notice if their store is replaced meanwhile."""
_MAX_LOG_BYTES = 256 << 10
_NICENESS = 5  # the training process has priority


def main() -> None:
    parser = argparse.ArgumentParser(prog="penstock.shipper")
    parser.add_argument("root", type=Path)
    parser.add_argument("--idle-exit", type=float, default=_IDLE_EXIT_S, metavar="SECONDS")
    parser.add_argument("--limit-bytes", type=int, default=2 << 30)
    parser.add_argument("--detach", action="store_true", help="continue in the background")
    parser.add_argument(
        "--take-over", type=float, default=ELECTION_S, metavar="SECONDS",
        help="how long to wait for another shipper to exit",
    )  # fmt: skip
    parser.add_argument("--starting-fd", type=int, help="holds a lock until this shipper runs")
    options = parser.parse_args()
    os.umask(0o077)
    os.nice(_NICENESS)
    if options.detach and os.fork():
        os._exit(0)  # the starter reaps this process; the shipper itself has no parent
    # Afterwards, so that nothing waits for numpy.
    from penstock.shipper.daemon import Daemon  # noqa: PLC0415

    _log_to(options.root / "shipper.log")
    log = logging.getLogger("penstock.shipper")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # nothing has begun yet
    # Repeat: a spool may have appeared between the last scan and the lock's release.
    while True:
        with hold_root(options.root, options.take_over) as elected:
            if options.starting_fd is not None:
                os.close(options.starting_fd)
                options.starting_fd = None
            if not elected:
                return
            log.info("started, process %d", os.getpid())
            daemon = Daemon(
                options.root, idle_exit_s=options.idle_exit, limit_bytes=options.limit_bytes
            )
            signal.signal(signal.SIGTERM, lambda *_, leave=daemon.leave: leave())
            daemon.run()
        if daemon.asked_to_leave:
            log.info("asked to exit, process %d", os.getpid())
            logging.shutdown()
            os._exit(0)  # without waiting for a request that hangs
        if not daemon.has_new_spools():
            log.info("nothing left to do")
            return


def _log_to(path: Path) -> None:
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=_MAX_LOG_BYTES, backupCount=1)
    logging.basicConfig(
        handlers=[handler],
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )


if __name__ == "__main__":
    main()
