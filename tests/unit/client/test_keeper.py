"""The thread that keeps a process's spools."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.notices import NOTICES
from penstock.spool import keeper


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks at its spools much more often than each second."""
    monkeypatch.setattr(keeper, "_LOOK_INTERVAL_S", 0.05)


class FakeSpool:
    def __init__(self, root: Path, look: Callable[[], object] = lambda: None) -> None:
        self.root = root
        self.prepared = threading.Event()
        self.looked = threading.Event()
        self._look = look

    def prepare(self) -> None:
        self.prepared.set()

    def look(self) -> None:
        self.looked.set()
        self._look()


def keepers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "penstock-spools"]


def test_many_spools_have_one_thread_and_each_is_looked_after(tmp_path: Path) -> None:
    before = len(keepers())
    spools = [FakeSpool(tmp_path) for _ in range(100)]
    for spool in spools:
        keeper.add(spool)
    try:
        assert len(keepers()) == before + 1
        assert all(spool.prepared.wait(10) and spool.looked.wait(10) for spool in spools)
        spools[7].prepared.clear()
        keeper.wake(spools[7])
        assert spools[7].prepared.wait(10)
    finally:
        for spool in spools:
            keeper.remove(spool)
    deadline = time.monotonic() + 10
    while len(keepers()) > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(keepers()) == before


def test_it_starts_again_for_the_next_spool(tmp_path: Path) -> None:
    for _ in range(2):
        spool = FakeSpool(tmp_path)
        keeper.add(spool)
        assert spool.looked.wait(10)
        keeper.remove(spool)


def test_a_look_that_fails_is_said_and_stops_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        raise ValueError("no such thing")

    spools = [FakeSpool(tmp_path, fail), FakeSpool(tmp_path)]
    for spool in spools:
        keeper.add(spool)
    try:
        assert spools[1].looked.wait(10)
        spools[1].looked.clear()
        assert spools[1].looked.wait(10)
        assert "look" in NOTICES.counts
    finally:
        for spool in spools:
            keeper.remove(spool)


def test_a_forked_child_has_a_thread_of_its_own(tmp_path: Path) -> None:
    spool = FakeSpool(tmp_path)
    keeper.add(spool)
    try:
        child = multiprocessing.get_context("fork").Process(target=_keep_own, args=(tmp_path,))
        child.start()
        child.join(30)
        assert child.exitcode == 0
    finally:
        keeper.remove(spool)


def _keep_own(root: Path) -> None:
    own = FakeSpool(root)
    keeper.add(own)
    assert own.looked.wait(10)
