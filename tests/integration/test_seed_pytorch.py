"""The project's first script, written for W&B, with nothing changed but its import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.samplers import MEASURED, end_samplers
from support.up import Up, running_up, wait_until

pytestmark = [pytest.mark.heavy, pytest.mark.smoke]
pytest.importorskip("torch")

# Between the lines of dashes the script is as it was published; before them is what it takes for granted.
SCRIPT = """
import types
import torch
import torch.nn.functional as F

torch.manual_seed(7)
model = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
args = types.SimpleNamespace(log_interval=5)
true = torch.randn(20, 3)
train_loader = [(x, (x @ true).argmax(1)) for x in torch.randn(3_000, 16, 20)]

# ----------------------------------------------------------------------------
import penstock as wandb

# 1. Start a new run
wandb.init(project="gpt-3")

# 2. Save model inputs and hyperparameters
config = wandb.config
config.learning_rate = 0.01

# 3. Log gradients and model parameters
wandb.watch(model)

for batch_idx, (data, target) in enumerate(train_loader):
    loss = F.cross_entropy(model(data), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if batch_idx % args.log_interval == 0:
        # 4. Log metrics to visualize performance
        wandb.log({"loss": loss})
# ----------------------------------------------------------------------------
        print(f"batch {batch_idx}: loss {loss.item():.4f}")
"""
RECORDED = {"PENSTOCK_CONSOLE": "auto", "PENSTOCK_FACTS": "machine,packages,git", **MEASURED}


def _run(up: Up, folder: Path) -> dict[str, Any]:
    (folder / "train.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "train.py"], cwd=folder, env={**up.environ, **RECORDED}, timeout=120,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "batch 2995: loss" in done.stdout
    (run,) = up.get("/v1/projects/local/gpt-3/runs")["runs"]
    return dict(run)


def test_the_pytorch_script_runs_as_written(tmp_path: Path) -> None:
    (tmp_path / "script").mkdir()
    with running_up(tmp_path) as up:
        try:
            run = _run(up, tmp_path / "script")
            assert (run["state"], run["config"]) == ("finished", {"learning_rate": 0.01})
            address = f"/v1/runs/local/gpt-3/{run['run']}"
            keys = {key["key"]: key for key in up.get(f"{address}/keys")["keys"]}
            assert keys["loss"]["last"] < 1.0
            norms = {name for name in keys if name.startswith("grad_norm/")}
            assert norms == {
                f"grad_norm/{name}"
                for name in ("0.weight", "0.bias", "2.weight", "2.bias", "total")
            }
            histograms = up.get(f"{address}/media?key=gradients/0.weight")
            assert histograms
            wait_until(lambda: _prints(up, address) == 600)
            wait_until(lambda: "system.cpu" in _names(up, address))
            assert up.get(address)["info"]["command"].endswith("train.py")
        finally:
            end_samplers(tmp_path / "spool")


def _prints(up: Up, address: str) -> int:
    lines = up.get(f"{address}/console?limit=10000")["lines"]
    return sum(line["text"].startswith("batch ") for line in lines)


def _names(up: Up, address: str) -> set[str]:
    return {key["key"] for key in up.get(f"{address}/keys")["keys"]}
