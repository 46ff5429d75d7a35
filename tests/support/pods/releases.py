"""An earlier version of Penstock, taken from the repository's history, to run beside this one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support.pods.release import CURRENT, Release

__all__ = ["EARLIER", "earlier_release", "first_key"]

EARLIER = "f92ca89605636c6de1052182c767640a4c48a15c"
"""The last commit with revision 0009 of the catalog, one before today's, and version 2 of the store: what is
promised is that the two versions run side by side."""

_FIRST_KEY = """
import asyncio, sys
from penstock_common.http.auth import mint_key
from penstock_storage.connect import open_catalog

async def main(url, secret):
    catalog = open_catalog(url)
    await catalog.setup()
    key, text = mint_key("user", "local", frozenset({"read", "write"}), secret)
    await catalog.add_api_key(key, "test")
    await catalog.close()
    print(text)

asyncio.run(main(*sys.argv[1:]))
"""


@contextmanager
def earlier_release() -> Iterator[Release]:
    """That version's packages in a folder; skips the test where the history does not reach back so far."""
    with TemporaryDirectory(prefix="penstock-earlier-") as folder:
        names = (
            "client",
            "common",
            "compat",
            "ingest",
            "server",
            "storage",
            "sweeps",
            "web",
            "workers",
        )
        found = subprocess.run(
            ["git", "archive", EARLIER, *names], cwd=CURRENT.root, capture_output=True, check=False
        )
        if found.returncode != 0:
            pytest.skip("the earlier version is not in this clone's history")
        subprocess.run(["tar", "-x", "-C", folder], input=found.stdout, check=True)
        yield Release(Path(folder), has_ready_roles=False)


def first_key(release: Release, catalog_url: str, secret: str) -> str:
    """Let this version create the catalog, with an API key of the entity `local`."""
    done = subprocess.run(
        [sys.executable, "-c", _FIRST_KEY, catalog_url, secret],
        env={"PYTHONPATH": release.path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
