"""A folder that never answers, as the home of a file server that is gone: a FUSE file system that nobody
serves."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["hung_folder"]

_MNT_DETACH = 2


@contextmanager
def hung_folder(folder: Path) -> Iterator[Path]:
    """Every look into `folder` hangs until this is left. Skips the test where mounting is not permitted."""
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        fuse = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        pytest.skip(f"there is no FUSE here: {error}")
    options = f"fd={fuse},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
    where = os.fsencode(folder)
    try:
        if libc.mount(b"hung", where, b"fuse", 0, options.encode()) != 0:
            pytest.skip(f"cannot mount here: {os.strerror(ctypes.get_errno())}")
        try:
            yield folder
        finally:
            libc.umount2(where, _MNT_DETACH)
    finally:
        os.close(fuse)  # what hangs in it fails from here on
