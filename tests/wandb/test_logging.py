"""What scripts log with the official client is there, every value of it."""

from __future__ import annotations

from support.logged import Logged
from support.up import Up
from support.wandb_scripts import run_wandb


def test_numbers(up: Up) -> None:
    code = """
import wandb
run = wandb.init(project="logging", id="numbers", name="a name")
for i in range(500):
    run.log({"loss": 1 / (i + 1), "count": i, "whole": float(i)})
run.finish()
"""
    run_wandb(up, code).check()
    run = Logged(up, "logging", "numbers")
    assert run.fields()["state"] == "finished"
    assert run.fields()["name"] == "a name"
    assert run.history(keys="loss,count,whole") == [
        {"_step": i, "loss": 1 / (i + 1), "count": i, "whole": float(i)} for i in range(500)
    ]
    assert run.table()["count"].to_pylist() == list(range(500))
