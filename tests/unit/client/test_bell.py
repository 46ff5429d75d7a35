"""The pipe by which a training wakes its shipper."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.shipper.polls import (
    HURRIED_POLL_S,
    HURRIED_TICK_S,
    MAX_POLL_S,
    POLL_S,
    REST_S,
    TICK_S,
    TIGHT_POLL_S,
    Polls,
)
from penstock.spool.bell import Bell, ring


def test_a_ring_ends_the_wait(tmp_path: Path) -> None:
    bell = Bell(tmp_path)
    for _ in range(10_000):  # more than a pipe holds: nobody waits
        ring(tmp_path)
    while bell.wait(0.0):
        pass
    assert not bell.wait(0.0)
    bell.ring()
    assert bell.wait(60.0)
    bell.close()
    bell.ring()
    ring(tmp_path)  # nobody listens


@pytest.mark.parametrize("what", ["nothing", "file", "folder", "link", "socket"])
def test_where_there_is_no_pipe(tmp_path: Path, what: str) -> None:
    path = tmp_path / "shipper.bell"
    if what == "file":
        path.write_text("kept")
    elif what == "folder":
        path.mkdir()
    elif what == "link":
        path.symlink_to("/etc/hostname")
    elif what == "socket":
        os.mknod(path, 0o140600)
    ring(tmp_path)
    bell = Bell(tmp_path if what != "nothing" else tmp_path / "gone")
    ring(tmp_path)
    assert not bell.wait(0.0)
    bell.close()
    if what == "file":
        assert path.read_text() == "kept"


def test_polls_come_quickly_at_the_end_and_rarely_later() -> None:
    polls = Polls()
    polls.sent(100.0, is_last=True)
    assert polls.due_at == 100.0 + HURRIED_POLL_S
    assert polls.hurried_to > 100.0
    now, asked = 100.0, 0
    while now < 160.0:
        now, asked = polls.due_at, asked + 1
        polls.answered(now, advanced=False)
    assert 35 < asked < 55
    assert polls.due_at == now + MAX_POLL_S
    polls.answered(now, advanced=True)
    assert polls.due_at == now + POLL_S
    polls.sent(now, is_last=False)
    assert polls.hurried_to == 0.0
    assert polls.due_at == now + POLL_S
    polls.sent(now, is_last=False, is_tight=True)
    assert polls.due_at == now + TIGHT_POLL_S


def test_a_spool_rests_until_something_is_due() -> None:
    polls = Polls()
    assert polls.rest_s(100.0, cut_at=None, is_waiting=False) == REST_S
    assert polls.rest_s(100.0, cut_at=100.125, is_waiting=False) == 0.125
    assert polls.rest_s(100.0, cut_at=99.0, is_waiting=False) == TICK_S
    polls.sent(100.0, is_last=False, is_tight=True)
    assert polls.rest_s(100.0, cut_at=101.0, is_waiting=True) == pytest.approx(TIGHT_POLL_S)
    assert polls.rest_s(100.0, cut_at=101.0, is_waiting=False) == REST_S
    polls.sent(100.0, is_last=True)
    assert polls.rest_s(100.0, cut_at=None, is_waiting=True) == HURRIED_TICK_S
