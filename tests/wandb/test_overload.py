"""The server, or something in front of it, sends the official client away for a while: nothing that
was logged is missing afterwards."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from support.http_trouble import Judge, Trouble, answer, troubled
from support.logged import Logged, logged_runs
from support.up import Up
from support.wandb_scripts import run_wandb, start_wandb

CODE = """
import time, wandb
run = wandb.init(project="overload", id={run!r})
for i in range(400):
    run.log({{"loss": i, "note": f"n{{i}}"}})
    time.sleep(0.01)
run.finish()
"""


@pytest.fixture
def front(up: Up) -> Iterator[Trouble]:
    port = urlsplit(up.url).port
    assert port is not None
    with troubled(port) as trouble:
        yield trouble


def first_of(number: int, given: bytes, path_end: str) -> Judge:
    """Answers this to the first requests of a path."""
    counter = itertools.count()

    def judge(method: str, path: str) -> bytes | None:
        is_meant = path.endswith(path_end)
        return given if is_meant and next(counter) < number else None

    return judge


def every_other(given: bytes, path_end: str) -> Judge:
    counter = itertools.count()

    def judge(method: str, path: str) -> bytes | None:
        return given if path.endswith(path_end) and next(counter) % 2 == 0 else None

    return judge


def check(up: Up, front: Trouble, run: str) -> None:
    run_wandb(up, CODE.format(run=run), timeout_s=100, WANDB_BASE_URL=front.url).check()
    logged = Logged(up, "overload", run)
    assert logged.history() == [{"_step": i, "loss": i, "note": f"n{i}"} for i in range(400)]
    assert logged.state() == "finished"
    assert front.seen


SOON = answer("429 Too Many Requests", "Retry-After: 1")
LATER = answer("503 Service Unavailable", "Retry-After: 1")


@pytest.mark.parametrize(
    ("run", "given"),
    [
        ("too-many", SOON),
        ("unavailable", LATER),
        ("bad-gateway", answer("502 Bad Gateway")),
        ("cut", b""),
    ],
)
def test_lines_are_sent_again(up: Up, front: Trouble, run: str, given: bytes) -> None:
    front.judge = first_of(2, given, "/file_stream")
    check(up, front, run)


@pytest.mark.heavy
@pytest.mark.timeout(240)
def test_every_other_request_fails(up: Up, front: Trouble) -> None:
    lines, operations = every_other(LATER, "/file_stream"), every_other(SOON, "/graphql")
    front.judge = lambda method, path: lines(method, path) or operations(method, path)
    check(up, front, "every-other")


@pytest.mark.heavy
@pytest.mark.timeout(240)
def test_answers_are_lost_after_the_lines_were_taken(up: Up, front: Trouble) -> None:
    """The client repeats what the server has: it is stored once."""
    counter = itertools.count()
    front.loses = lambda path: path.endswith("/file_stream") and next(counter) % 3 == 0
    run_wandb(up, CODE.format(run="lost"), timeout_s=200, WANDB_BASE_URL=front.url).check()
    rows = Logged(up, "overload", "lost").history(lanes="all")
    assert [row["loss"] for row in rows if "loss" in row] == list(range(400))
    assert front.seen


@pytest.mark.heavy
@pytest.mark.timeout(590)
def test_sixty_four_runs_at_once(up: Up) -> None:
    """In sixteen processes of four runs each: what a small cluster does, on two cores."""
    code = """
import sys, wandb
runs = [
    wandb.init(project="crowd", id=f"r{int(sys.argv[1]) * 4 + k}", reinit="create_new")
    for k in range(4)
]
for i in range(500):
    for run in runs:
        run.log({"loss": i, "id": int(run.id[1:])})
for run in runs:
    run.finish()
"""
    with ExitStack() as stack:
        scripts = [stack.enter_context(start_wandb(up, code, str(at))) for at in range(16)]
        for script in scripts:
            script.wait(500).check()
    assert len(logged_runs(up, "crowd")) == 64
    for number in range(64):
        rows = Logged(up, "crowd", f"r{number}").history()
        assert rows == [{"_step": i, "loss": i, "id": number} for i in range(500)]
