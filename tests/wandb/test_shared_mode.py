"""Several processes that log to one run with the official client's shared mode."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from support.logged import Logged
from support.up import Up, wait_until
from support.wandb_scripts import start_wandb

RANK = """
import sys, time, wandb
run = wandb.init(
    project="shared", id={run!r},
    settings=wandb.Settings(mode="shared", x_label="rank{rank}", x_primary={primary},
                            x_update_finish_state={primary}))
for i in range({steps}):
    run.log({{"loss": i + {rank} * 1000, "rank{rank}/own": i}})
print("from rank {rank}", flush=True)
run.summary["of{rank}"] = {rank}
run.finish()
"""
WAIT = 'import pathlib\nwhile not pathlib.Path("go").exists(): time.sleep(0.05)'


def run_ranks(up: Up, run: str, ranks: int, steps: int = 50) -> Logged:
    """One script per rank, all at once; the first is the primary one and ends last."""

    with ExitStack() as stack:
        codes = [
            RANK.format(run=run, rank=rank, primary=rank == 0, steps=steps) for rank in range(ranks)
        ]
        codes[0] = codes[0].replace("run.finish()", f"{WAIT}\nrun.finish()")
        primary, *others = [stack.enter_context(start_wandb(up, code)) for code in codes]
        for other in others:
            other.wait().check()
        logged = Logged(up, "shared", run)
        wait_until(lambda: primary.says("from rank 0"), 30)
        assert logged.state() == "running"
        (primary.folder / "go").touch()
        primary.wait().check()
    return logged


@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.heavy)])
def test_every_process_keeps_what_it_logged(up: Up, ranks: int) -> None:
    logged = run_ranks(up, f"of-{ranks}", ranks)
    assert logged.state() == "finished"
    losses: dict[str, list[int]] = {}
    for row in logged.history(lanes="all"):
        losses.setdefault(str(row["_lane"]), []).append(row["loss"])
    wanted = [[i + rank * 1000 for i in range(50)] for rank in range(ranks)]
    assert sorted(losses.values()) == wanted
    for rank in range(ranks):
        assert logged.column(f"rank{rank}/own") == list(range(50))
    summary = logged.fields()["summary"]
    assert {f"of{rank}": summary[f"of{rank}"] for rank in range(ranks)} == {
        f"of{rank}": rank for rank in range(ranks)
    }
    texts = [line.text for line in logged.console()]
    for rank in range(ranks):
        assert [text for text in texts if f"from rank {rank}" in text]
