"""Ranks and attempts end to end: two processes of torch train one run, are killed, and go on from a
checkpoint; every row of both attempts can be read, and charts show the latest."""

from __future__ import annotations

import csv
import json
import math
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from support.up import Up, running_up, wait_until

# As torchrun starts it. Both ranks log into one run; rank 0 speaks for its state. What was logged is
# also written down in a file, which the test believes.
TRAIN = """
import json, os, sys
import torch, torch.distributed as dist
import penstock

folder, attempt, first, pause, last = sys.argv[1], *map(int, sys.argv[2:])
rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
dist.init_process_group("gloo")
torch.set_num_threads(1)
torch.manual_seed(7)
model = torch.nn.Linear(4, 1)
if first:
    model.load_state_dict(torch.load(f"{folder}/checkpoint"))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
kept = open(f"{folder}/{attempt}-{rank}.jsonl", "w", buffering=1)
with penstock.init(project="ranks", id="job", mode="shared") as run:
    for step in range(first, last):
        if step == 40 and rank == 0:
            torch.save(model.state_dict(), f"{folder}/checkpoint")
        if step == pause:
            print("there", flush=True)
            sys.stdin.read()
        data = torch.randn(8, 4, generator=torch.Generator().manual_seed(2 * step + rank))
        loss = (model(data) - data.sum(1, keepdim=True)).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        for each in model.parameters():
            dist.all_reduce(each.grad)
            each.grad /= world
        optimizer.step()
        run.log({"loss": loss, "attempt": attempt, "rank": float(rank), "who": f"{attempt}.{rank}"},
                step=step)
        kept.write(json.dumps([step, loss.item()]) + chr(10))
    if world > 1:
        dist.barrier()
dist.destroy_process_group()
"""
CHECKPOINT, KILLED, PAUSED, LAST = 40, 61, 70, 100
Losses = dict[tuple[int, int], dict[int, float]]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("ranks")) as up:
        yield up


@contextmanager
def training(up: Up, attempt: int, first: int, pause: int) -> Iterator[list[Any]]:
    """Both ranks, in front of step `pause`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = []
    for rank in range(2):
        environ = {
            **up.environ,
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo",
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
        }  # fmt: skip
        arguments = map(str, (up.folder, attempt, first, pause, LAST))
        ranks.append(
            subprocess.Popen(
                [sys.executable, "-c", TRAIN, *arguments],
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        )
    try:
        for process in ranks:
            assert process.stdout is not None
            assert process.stdout.readline() == b"there\n"
        yield ranks
    finally:
        for process in ranks:
            if process.poll() is None:
                process.kill()
            process.wait(20)
            process.stdin.close()  # type: ignore[union-attr]
            process.stdout.close()  # type: ignore[union-attr]


def run(up: Up) -> dict[str, Any]:
    found: dict[str, Any] = up.get("/v1/runs/local/ranks/job")
    return found


def state(up: Up) -> str:
    """The run's state; nothing before its first batch."""
    with suppress(HTTPError):
        return str(run(up)["state"])
    return ""


def stored(up: Up) -> int:
    writers = up.get("/v1/runs/local/ranks/job/ledger")["writers"]
    return sum(each["points_stored"] for each in writers)


@pytest.fixture(scope="module")
def losses(up: Up) -> Losses:
    """The run, killed and gone on with; returns what was logged by (attempt, rank)."""
    with training(up, 1, 0, KILLED) as ranks:
        for process in ranks:
            process.kill()
    wait_until(lambda: state(up) == "crashed")
    with training(up, 2, CHECKPOINT, PAUSED) as ranks:
        wait_until(lambda: state(up) == "running")
        for process in ranks:
            process.stdin.close()
        assert [process.wait(60) for process in ranks] == [0, 0]
    wait_until(lambda: state(up) == "finished")
    files = {(a, r): up.folder / f"{a}-{r}.jsonl" for a in (1, 2) for r in (0, 1)}
    found: Losses = {name: dict(map(json.loads, read(path))) for name, path in files.items()}
    wait_until(lambda: stored(up) == 3 * sum(map(len, found.values())))
    return found


def read(path: Path) -> list[str]:
    return path.read_text().splitlines()


def latest(losses: Losses, rank: int) -> dict[int, float]:
    before = {step: loss for step, loss in losses[1, rank].items() if step < CHECKPOINT}
    return before | losses[2, rank]


def chart(up: Up, **asked: Any) -> list[dict[str, Any]]:
    question = {"project": "ranks", "runs": ["job"], "keys": ["loss"], "buckets": 10_000}
    found: list[dict[str, Any]] = up.post("/v1/charts", {**question, **asked})["series"]
    return found


def history(up: Up, query: str = "", run: str = "job") -> list[dict[str, Any]]:
    return [json.loads(line) for line in text(up, f"history?{query}", run).splitlines()]


def text(up: Up, path: str, run: str = "job") -> str:
    request = Request(f"{up.url}/v1/runs/local/ranks/{run}/{path}")
    request.add_header("Authorization", f"Bearer {up.api_key}")
    with urlopen(request, timeout=20) as reply:
        body: bytes = reply.read()
    return body.decode()


pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]


def test_both_attempts_logged_what_they_should(losses: Losses) -> None:
    assert {name: (min(own), max(own)) for name, own in losses.items()} == {
        (1, 0): (0, KILLED - 1), (1, 1): (0, KILLED - 1),
        (2, 0): (CHECKPOINT, LAST - 1), (2, 1): (CHECKPOINT, LAST - 1),
    }  # fmt: skip
    # The same model and data: what was trained again came out the same.
    again = range(CHECKPOINT, KILLED)
    assert all(losses[1, r][s] == losses[2, r][s] for r in (0, 1) for s in again)


def test_state_and_summary_are_of_rank_0_and_the_latest_attempt(up: Up, losses: Losses) -> None:
    found = run(up)
    assert found["state"] == "finished"
    assert found["last_step"] == LAST - 1
    assert found["summary"]["loss"] == losses[2, 0][LAST - 1]
    assert found["summary"]["who"] == "2.0"


def test_charts_of_the_latest_attempt(up: Up, losses: Losses) -> None:
    (series,) = chart(up)
    assert series["step"] == list(range(LAST))
    assert series["count"] == [2] * LAST
    zero, one = latest(losses, 0), latest(losses, 1)
    assert series["min"] == [min(zero[step], one[step]) for step in range(LAST)]
    assert series["max"] == [max(zero[step], one[step]) for step in range(LAST)]
    # Where ranks logged the same step, the lowest rank's value counts, as in history.
    assert series["last"] == [zero[step] for step in range(LAST)]
    (attempts,) = chart(up, keys=["attempt"])
    assert attempts["mean"] == [1] * CHECKPOINT + [2] * (LAST - CHECKPOINT)


def test_charts_by_rank(up: Up, losses: Losses) -> None:
    series = chart(up, lanes="rank")
    assert [each["rank"] for each in series] == [0, 1]
    for each in series:
        own = latest(losses, each["rank"])
        assert each["last"] == [own[step] for step in range(LAST)]
        assert each["count"] == [1] * LAST
    (both,) = chart(up, aggregate="ranks", keys=["rank"])
    assert both["samples"] == [2] * LAST
    assert both["mean"] == [0.5] * LAST


def test_charts_of_every_lane(up: Up, losses: Losses) -> None:
    series = chart(up, lanes="all")
    assert sorted(each["lane"] for each in series) == [0, 1, 2, 3]
    found = {
        (each["rank"], tuple(each["step"])): dict(zip(each["step"], each["last"], strict=True))
        for each in series
    }
    assert found == {(rank, tuple(own)): own for (_, rank), own in losses.items()}


def test_the_last_step_of_a_rank(up: Up, losses: Losses) -> None:
    assert run(up)["last_step"] == LAST - 1
    for rank, last in ((0, LAST - 1), (1, LAST - 1), (2, None)):
        assert up.get(f"/v1/runs/local/ranks/job?rank={rank}")["last_step"] == last


LATE = """
import penstock, sys
with penstock.init(project="ranks", id="late", mode="shared", resume=sys.argv[2]) as run:
    assert run.step == int(sys.argv[3]), run.step
    for step in range(run.step, run.step + int(sys.argv[1])): run.log({"a": float(step)})
"""


def test_a_rank_that_starts_late_begins_at_its_own_step(up: Up) -> None:
    """Its siblings have already logged to the run, with `resume="allow"` in every process of the job; the
    ranks of the restarted job each go on after their own last step."""

    def rank(number: int, count: int, first: int, resume: str = "allow") -> None:
        done = subprocess.run(
            [sys.executable, "-c", LATE, str(count), resume, str(first)],
            env={**up.environ, "RANK": str(number)},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    rank(0, 20, 0, "never")
    rank(1, 10, 0, "never")
    rank(2, 5, 0)
    rank(0, 5, 20)
    rank(1, 5, 10)
    found = history(up, "lanes=all", run="late")
    steps = {number: [r["_step"] for r in found if r["_rank"] == number] for number in range(3)}
    assert steps == {0: [*range(25)], 1: [*range(15)], 2: [*range(5)]}


def test_history(up: Up, losses: Losses) -> None:
    rows = history(up)
    assert {row["_step"]: row["loss"] for row in rows} == latest(losses, 0)
    assert [row["who"] for row in rows] == ["1.0"] * CHECKPOINT + ["2.0"] * (LAST - CHECKPOINT)
    assert {row["rank"] for row in rows} == {0}
    lanes: Losses = {}
    for row in history(up, "lanes=all"):
        assert row["who"] == f"{row['attempt']}.{row['_rank']}"
        lanes.setdefault((row["attempt"], row["_rank"]), {})[row["_step"]] = row["loss"]
    assert lanes == losses
    assert all(isinstance(row["_timestamp"], float) for row in rows)


def test_export(up: Up, losses: Losses) -> None:
    rows = list(csv.DictReader(text(up, "export?format=csv").splitlines()))
    assert {int(row["_step"]): float(row["loss"]) for row in rows} == latest(losses, 0)
    assert [row["who"][0] for row in rows] == ["1"] * CHECKPOINT + ["2"] * (LAST - CHECKPOINT)
    every: Losses = {}
    for row in csv.DictReader(text(up, "export?format=csv&lanes=all").splitlines()):
        name = int(row["attempt"]), int(row["_rank"])
        every.setdefault(name, {})[int(row["_step"])] = float(row["loss"])
    assert every == losses


def test_nothing_was_lost(up: Up, losses: Losses) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "penstock.cli", "verify", "job"],
        env=up.environ, capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    points = 3 * sum(map(len, losses.values()))
    assert f"{points:,} points sent, {points:,} stored: 0 missing" in done.stdout


def test_tensors_are_logged(up: Up) -> None:
    code = """
import torch, penstock
with penstock.init(project="ranks", id="tensors", settings={"strict": True}) as run:
    loss = torch.tensor(2.5, requires_grad=True) * 2
    run.log({"loss": loss, "half": torch.tensor(0.5, dtype=torch.bfloat16),
             "count": torch.tensor(7), "yes": torch.tensor(True),
             "nan": torch.tensor([float("nan")]), "weights": torch.arange(10.0)}, step=torch.tensor(3))
"""
    done = up.run_python(code, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    found = up.get("/v1/runs/local/ranks/tensors")
    summary = found["summary"]
    assert found["last_step"] == 3
    assert (summary["loss"], summary["half"], summary["count"]) == (5.0, 0.5, 7)
    assert summary["yes"] is True
    assert summary["nan"] == "NaN"
    assert summary["weights"]["_type"] == "histogram"
    assert math.fsum(summary["weights"]["values"]) == 10
