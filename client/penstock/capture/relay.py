"""Passes output on, and stands by: the part of the process beside that must not fail.

It stands beside the reader and does nothing while that lives. If the reader dies or leaves, what the training process and
its children still print is passed on, until nobody can print any more. Imports little, since it stays in memory.
"""

from __future__ import annotations

import contextlib
import os
import select
from dataclasses import dataclass

__all__ = ["Ends", "pass_on", "stand_by"]

CHUNK_BYTES = 1 << 16


@dataclass
class Ends:
    """One stream: where to read what is printed, and where to pass it on to (-1: nowhere)."""

    name: str
    read_end: int
    original: int
    is_broken: bool = False
    """Whether nobody reads the original any more: the next to print there is told so, as without us."""

    def close(self) -> None:
        if self.read_end >= 0:
            with contextlib.suppress(OSError):
                os.close(self.read_end)
        self.read_end = -1


def take(ends: Ends) -> bytes | None:
    """What can be read now; None if nothing can, b"" at the end."""
    try:
        return os.read(ends.read_end, CHUNK_BYTES)
    except BlockingIOError:
        return None
    except OSError:  # a pseudo-terminal that nobody has open any more
        return b""


def pass_on(ends: Ends, data: bytes) -> None:
    """Write it to the original, however long that takes: so does printing there. A full disk or a terminal
    that is gone costs the output, not the training run."""
    if ends.original < 0:
        return
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(ends.original, left) :]
        except BlockingIOError:
            waiting = select.poll()
            waiting.register(ends.original, select.POLLOUT)
            waiting.poll()
        except BrokenPipeError:
            ends.is_broken = True
            return
        except OSError:
            return


def stand_by(link: int, streams: list[Ends]) -> None:
    """Wait until the reader is gone, and take its place. Each byte on `link` is the index of a stream that it
    has closed."""
    while True:
        data = os.read(link, 64)
        if not data:
            break
        for index in data:
            if index < len(streams):
                streams[index].close()
    poller = select.poll()
    for ends in streams:
        if ends.read_end >= 0:
            poller.register(ends.read_end, select.POLLIN)
    while any(ends.read_end >= 0 for ends in streams):
        ready = {fd for fd, _ in poller.poll()}
        for ends in streams:
            if ends.read_end not in ready:
                continue
            read = take(ends)
            if read is None:
                continue
            if read:
                pass_on(ends, read)
            if not read or ends.is_broken:
                poller.unregister(ends.read_end)
                ends.close()
