"""Files of a run on their way to the server: each is one file beside the segments of a spool.

It begins with a line of JSON that has its name, so that it can be written in one move and needs no list. The
shipper uploads it once the server knows the run, and deletes it then.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["MAX_FILE_BYTES", "SpooledFile", "add_file", "files_in", "read_file"]

MAX_FILE_BYTES = 16 << 20
_SUFFIX = ".file"
_MAX_HEAD_BYTES = 16_384
_COUNT = itertools.count()


class SpooledFile(NamedTuple):
    """`name`: a relative path, with `/` between folders."""

    name: str
    content: bytes


def add_file(folder: Path, name: str, content: bytes) -> None:
    """Keep a file for the run of this spool. Raises OSError, and ValueError if it is too large."""
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"{name} has {len(content):,} bytes, at most {MAX_FILE_BYTES:,} are kept")
    stem = f"{os.getpid()}-{time.time_ns()}-{next(_COUNT)}"
    temporary = folder / f"{stem}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(json.dumps({"name": name}).encode() + b"\n")
            file.write(content)
        temporary.rename(folder / f"{stem}{_SUFFIX}")
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def files_in(folder: Path) -> Iterator[Path]:
    """The spooled files of a writer's folder; none if it is gone."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(_SUFFIX):
                yield Path(entry.path)


def read_file(path: Path) -> SpooledFile:
    """Raises OSError, and ValueError if it is damaged."""
    with path.open("rb") as file:
        head = file.readline(_MAX_HEAD_BYTES)
        name = json.loads(head)["name"] if head.startswith(b"{") else None
        if not isinstance(name, str) or not name:
            raise ValueError(f"{path} does not begin with its name")
        return SpooledFile(name, file.read(MAX_FILE_BYTES + 1))
