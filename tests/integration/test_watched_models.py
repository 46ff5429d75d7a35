"""`penstock.watch` in whole scripts: distributed and compiled models, runs that end, forks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(300)]
TIMEOUT_S = 240.0

# Prints what is in the summary, and the norms as this rank sees them.
DISTRIBUTED = """
import json, os, sys
import torch, torch.nn as nn, torch.distributed as dist
import penstock

dist.init_process_group("gloo")
rank, kind = dist.get_rank(), sys.argv[1]
torch.manual_seed(0)
layers = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
if kind == "ddp":
    model = nn.parallel.DistributedDataParallel(layers)
elif kind == "fsdp2":
    from torch.distributed.fsdp import fully_shard
    fully_shard(layers[0]), fully_shard(layers[2])
    model = fully_shard(layers)
else:
    from torch.distributed.fsdp import FullyShardedDataParallel
    model = FullyShardedDataParallel(
        layers, device_id=torch.device("cpu"), use_orig_params=kind == "fsdp original")
run = penstock.init(project="p", mode="offline", id=f"rank-{rank}")
penstock.watch(model, log_freq=3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
for step in range(3):
    optimizer.zero_grad()
    torch.manual_seed(rank)  # other gradients on every rank, the same in every step
    model(torch.randn(8, 8)).square().mean().backward()
    norms = {}
    for name, parameter in model.named_parameters():
        grad = parameter.grad
        grad = grad.to_local() if hasattr(grad, "to_local") else grad
        if grad is not None and grad.numel():
            norms[name] = grad.norm().item()
    optimizer.step()
    run.log({"loss": 0.0})
if kind == "fsdp original":  # its first step says only that no hook has seen a pass
    optimizer.step()
assert run._slow_path.drain(20)
seen = {key: value for key, value in run.summary.items() if key.startswith("grad_norm/")}
os.write(1, (json.dumps([norms, seen]) + "\\n").encode())
run.finish()
dist.destroy_process_group()
"""


@pytest.mark.parametrize(
    "kind", [pytest.param("ddp", marks=pytest.mark.smoke), "fsdp2", "fsdp", "fsdp original"]
)
def test_distributed_models(tmp_path: Path, kind: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {
        **_environ(tmp_path),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", DISTRIBUTED, kind],
            env={**environ, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        ended = [process.communicate(timeout=TIMEOUT_S) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait(20)
    found = []
    for process, (out, err) in zip(processes, ended, strict=True):
        assert process.returncode == 0, err
        norms, seen = json.loads(out.splitlines()[-1])
        assert norms
        total = seen.pop("grad_norm/total")
        assert total == pytest.approx(sum(norm**2 for norm in norms.values()) ** 0.5, rel=1e-4)
        named = {f"grad_norm/{name}": norm for name, norm in norms.items()}
        assert seen == pytest.approx(named, rel=1e-4)
        found.append(seen)
    # DDP's ranks show the reduced gradients; those of FSDP their shards.
    assert (found[0] == pytest.approx(found[1], rel=1e-4)) == (kind == "ddp")


COMPILED = """
import torch, penstock

torch.manual_seed(0)
run = penstock.init(project="p", mode="offline")

def check(model):
    assert run._slow_path.drain(20)
    for name, parameter in model.named_parameters():
        seen, norm = run.summary[f"grad_norm/{name}"], parameter.grad.norm().item()
        assert abs(seen - norm) < 1e-4 * norm, (name, seen, norm)
    penstock.unwatch()

inner = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
model = torch.compile(inner, backend="aot_eager")
penstock.watch(model, log_freq=1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    model(torch.randn(4, 8)).square().mean().backward()
    optimizer.step()
    run.log({"loss": 0.0})
check(model)

plain = torch.nn.Linear(8, 2)
penstock.watch(plain, log_freq=1)
optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)

@torch.compile(backend="aot_eager")
def step(inputs):
    optimizer.zero_grad()
    loss = plain(inputs).square().mean()
    loss.backward()
    optimizer.step()
    return loss

for _ in range(3):
    run.log({"loss": step(torch.randn(4, 8))})
check(plain)
run.finish()
"""


def test_compiled_models(tmp_path: Path) -> None:
    said = _run(tmp_path, COMPILED)
    assert "watch()" not in said
    assert "measuring.py" not in said  # nothing of ours is compiled


ENDINGS = """
import os
import torch, penstock

model = torch.nn.Linear(4, 2)
penstock.watch(model)  # before init: said, and nothing else
def train(run=None):
    model.zero_grad()
    model(torch.ones(3, 4)).sum().backward()
    if run is not None:
        run.log({"loss": 0.0})

off = penstock.init(project="p", mode="disabled")
penstock.watch(model, log_freq=1)
assert not any(each._post_accumulate_grad_hooks for each in model.parameters())
off.finish()

first = penstock.init(project="p", mode="offline")
penstock.watch(model, log="all", log_freq=1, log_graph=True)
train(first)
first.finish()
train()  # after its end
assert not any(each._post_accumulate_grad_hooks for each in model.parameters())
assert "gradients/weight" in dict(first.summary)

second = penstock.init(project="p", mode="offline")
penstock.watch(model, log_freq=1)
child = os.fork()
if child == 0:
    for _ in range(9):
        train(second)
    second._slow_path.drain(20)
    code = 0 if len(second.summary["gradients/weight"]["values"]) == 64 else 3
    os._exit(code)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
train(second)
penstock.finish()
"""


def test_before_init_disabled_finished_and_forked(tmp_path: Path) -> None:
    said = _run(tmp_path, ENDINGS, OMP_NUM_THREADS="1")
    assert said.count("call init() first") == 1
    assert said.count("log_graph has no effect") == 1


def _environ(folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB_", "PENSTOCK_"))}
    return {**kept, "PENSTOCK_DIR": str(folder), "XDG_CONFIG_HOME": str(folder / "config")}


def _run(folder: Path, code: str, **variables: str) -> str:
    """What the script printed."""
    path = folder / "script.py"  # compiling needs sources
    path.write_text(code)
    done: Any = subprocess.run(
        [sys.executable, str(path)],
        env={**_environ(folder), **variables},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout + done.stderr)
