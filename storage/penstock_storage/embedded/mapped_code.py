"""Gives back the engine's code that only its start needed.

chDB's library has half a gigabyte of code and constants. Whatever is touched, and what the kernel maps
around it, counts as this process's memory from then on: 200 MiB after a start, of which an installation at
rest uses half. Pages that are given back stay in the page cache; those that are needed again are mapped again,
without a read from the disk.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import mmap
import re
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["give_back", "keep_giving_back"]

_LOG = logging.getLogger(__name__)
_FIRST_AFTER_S, _EVERY_S = 30.0, 600.0
_LIBRARY = "/_chdb."
_SMAPS = Path("/proc/self/smaps")
_MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (r-[-x]p) .*?(/.*)?$")
_ANONYMOUS = re.compile(r"^Anonymous: +([0-9]+) kB$")


async def keep_giving_back() -> None:
    """Until cancelled. The first statement after it takes some milliseconds longer."""
    await asyncio.sleep(_FIRST_AFTER_S)
    while True:
        try:
            await asyncio.to_thread(give_back)
        except OSError as error:
            _LOG.warning("code_not_given_back error=%s", error)
            return
        await asyncio.sleep(_EVERY_S)


def give_back() -> int:
    """Unmap the pages of the library's code and constants; returns how many bytes of addresses that were.
    Nothing happens where there is no `/proc`.

    Raises `OSError`.
    """
    if sys.platform != "linux":
        return 0
    libc, total = ctypes.CDLL(None, use_errno=True), 0
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for start, size in _mapped(_SMAPS.read_text(errors="replace").splitlines()):
        if libc.madvise(start, size, mmap.MADV_DONTNEED) != 0:
            raise OSError(ctypes.get_errno(), "madvise")
        total += size
    return total


def _mapped(lines: list[str]) -> Iterator[tuple[int, int]]:
    """Start and size of each mapping of the library that is as in its file: read-only, and without a page that
    the loader changed before it became so."""
    found: tuple[int, int] | None = None
    for line in lines:
        if match := _MAPPING.match(line):
            start, end = int(match[1], 16), int(match[2], 16)
            found = (start, end - start) if _LIBRARY in (match[4] or "") else None
        elif line[:1] in "0123456789abcdef":
            found = None
        elif found and (counted := _ANONYMOUS.match(line)):
            if int(counted[1]) == 0:
                yield found
            found = None
