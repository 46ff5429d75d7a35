"""Which tests there are.

Each has an id of its own: by their ids they are shared out among processes, and two tests of one id
would be run as one. Modules that have only heavy tests are imported only where these are run: browsers,
frameworks and the official client take seconds to import, in each process.
"""

from __future__ import annotations

import gc
import os
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from _pytest.nodeid import coerce_node_id

# Before anything imports numpy: several processes whose matrices are multiplied by several threads each wait
# for each other.
os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
# Tests count writers, rows and processes: only those about it have this machine measured.
os.environ["PENSTOCK_SYSTEM_METRICS"] = "off"

# Tests count writers and processes, and read what is printed: only those about it have it recorded.
os.environ |= {"PENSTOCK_CONSOLE": "off", "PENSTOCK_FACTS": "off"}

_ALL_HEAVY = re.compile(
    r"^pytestmark = (?:(?!\n\n).)*(?:\bheavy\b|\bSMOKE$)", re.MULTILINE | re.DOTALL
)
_LONGEST = "test_wheel.py"
_HEAVY_FOLDER = "wandb"  # its conftest.py marks them


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if config.option.markexpr != "not heavy" or not collection_path.name.startswith("test_"):
        return None
    is_heavy = collection_path.parent.name == _HEAVY_FOLDER or _ALL_HEAVY.search(
        collection_path.read_text()
    )
    return True if is_heavy else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # Schemathesis names its tests after the API's operations, but not in their ids.
        if item.parent is not None and not item.nodeid.endswith(item.name):
            item._id = coerce_node_id(f"{item.parent.nodeid}::{item.name}")
    # The one that takes longest begins first: at the end, all other processes would wait for it.
    items.sort(key=lambda item: item.path.name != _LONGEST)
    twice = [name for name, count in Counter(item.nodeid for item in items).items() if count > 1]
    if twice:
        raise pytest.UsageError(f"several tests are called {twice[0]}")


def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking at all tests and their imports again and again: that took a
    tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def pytest_sessionfinish() -> None:
    if (store := sys.modules.get("support.store")) is not None:
        store.end_shared_stores()
