"""One process of `benchmarks.beside_wandb`: what a client costs the script that uses it, as a line of JSON.

    python benchmarks/one_client.py {penstock|wandb|none} {calls|steps|watch} [ARGUMENTS]

The environment says where the server is and where the client keeps its data. CPU times are of all threads
of this process, and of the client's helper (the shipper, or wandb-core).
"""

from __future__ import annotations

import importlib
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, perf_counter_ns, process_time
from typing import Any

import psutil

_CALLS = {1: 2_000, 10: 2_000, 100: 500, 1_000: 100}
_PAUSE_S = 0.2
"""Lets background work of one pass end before the next is measured."""
_SETTLE_S = 1.5
"""Lets the helper send what it has."""


def main() -> None:
    name, part, *arguments = sys.argv[1:]
    parts: dict[str, Callable[..., dict[str, Any]]] = {
        "calls": _calls,
        "steps": _steps,
        "watch": _watch,
    }
    print(json.dumps(parts[part](name, *map(int, arguments))), flush=True)


def _calls(name: str) -> dict[str, Any]:
    """log() with 1 to 1,000 values, memory, finish. Times in milliseconds and microseconds."""
    found: dict[str, Any] = {}
    run = importlib.import_module(name).init(project="bench")
    for keys, calls in _CALLS.items():
        names = [f"train/metric_{i}" for i in range(keys)]
        rows = [{each: random.random() for each in names} for _ in range(64)]
        for row in rows[:10]:
            run.log(row)
        times, begun_s = [], process_time()
        for i in range(calls):
            row, begun_ns = rows[i & 63], perf_counter_ns()
            run.log(row)
            times.append(perf_counter_ns() - begun_ns)
        time.sleep(_PAUSE_S)
        times.sort()
        found[f"log_{keys}"] = {
            "p50_us": times[len(times) // 2] / 1e3,
            "p99_us": times[len(times) * 99 // 100] / 1e3,
            "cpu_us": (process_time() - begun_s) / calls * 1e6,
        }
    time.sleep(_SETTLE_S)
    found["helper_cpu_ms"] = _helper_s(name) * 1e3
    found["pss_mib"] = _pss_mib([psutil.Process()])
    found["helper_pss_mib"] = _pss_mib(_helpers(name))
    begun = perf_counter()
    run.finish()
    found["finish_ms"] = (perf_counter() - begun) * 1e3
    return found


def _steps(name: str, steps: int) -> dict[str, Any]:
    """Steps of a small model that log three values each, or none: CPU and time per step."""
    torch, model, optimizer = _small_model()
    client = None if name == "none" else importlib.import_module(name)
    run = None if client is None else client.init(project="bench")
    loss_of = torch.nn.functional.mse_loss
    inputs, wanted = torch.randn(32, 16), torch.randn(32, 4)
    begun_s = begun = 0.0
    for step in range(-50, steps):
        if step == 0:
            begun_s, begun = process_time(), perf_counter()
        optimizer.zero_grad()
        loss = loss_of(model(inputs), wanted)
        loss.backward()
        optimizer.step()
        value = loss.item()
        if run is not None:
            run.log({"loss": value, "step": step, "lr": 0.1})
    took_s = perf_counter() - begun
    time.sleep(_PAUSE_S)
    found = {
        "step_us": took_s / steps * 1e6,
        "cpu_us": (process_time() - begun_s) / steps * 1e6,
    }
    if run is not None:
        run.finish()
    return found


def _watch(name: str, width: int, layers: int, intervals: int) -> dict[str, Any]:
    """CPU per logged interval of a model of linear layers: passes that log and passes that do not, in turn."""
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)  # threads that wait for work count as CPU time
    client = importlib.import_module(name)
    run = client.init(project="bench")
    model = torch.nn.Sequential(*(torch.nn.Linear(width, width) for _ in range(layers)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    inputs = torch.randn(2, width)
    found: dict[str, Any] = {"parameters": sum(each.numel() for each in model.parameters())}
    _pass(model, optimizer, inputs, run)
    for log in ("gradients", "all"):
        client.watch(model, log=log, log_freq=2)
        _pass(model, optimizer, inputs, run)  # each kind once, unmeasured
        _pass(model, optimizer, inputs, run)
        time.sleep(_PAUSE_S)
        plain: list[float] = []
        logged: list[float] = []
        slowest_s, helper_s = 0.0, _helper_s(name)
        for _ in range(intervals):
            for costs in (plain, logged):
                begun_s, begun = process_time(), perf_counter()
                _pass(model, optimizer, inputs, run)
                slowest_s = max(slowest_s, perf_counter() - begun)
                time.sleep(_PAUSE_S)
                costs.append(process_time() - begun_s)
        found[log] = {
            "cpu_ms": (statistics.median(logged) - statistics.median(plain)) * 1e3,
            "plain_cpu_ms": statistics.median(plain) * 1e3,
            "slowest_ms": slowest_s * 1e3,
            "helper_cpu_ms": (_helper_s(name) - helper_s) / intervals * 1e3,
        }
        client.unwatch()
    run.finish()
    return found


def _pass(model: Any, optimizer: Any, inputs: Any, run: Any) -> None:
    optimizer.zero_grad()
    loss = model(inputs).square().mean()
    loss.backward()
    optimizer.step()
    run.log({"loss": loss.item()})


def _small_model() -> tuple[Any, Any, Any]:
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    layers = [torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4)]
    model = torch.nn.Sequential(*layers)
    return torch, model, torch.optim.SGD(model.parameters(), lr=0.1)


def _helpers(name: str) -> list[psutil.Process]:
    """The processes that the client has started."""
    if name == "wandb":
        return psutil.Process().children(recursive=True)
    lock = Path(os.environ["PENSTOCK_DIR"]) / "shipper.lock"
    try:
        return [psutil.Process(int(lock.read_text().split()[0]))]
    except (OSError, ValueError, IndexError, psutil.Error):
        return []


def _helper_s(name: str) -> float:
    return sum(sum(each.cpu_times()[:2]) for each in _helpers(name))


def _pss_mib(processes: list[psutil.Process]) -> float:
    return sum(each.memory_full_info().pss for each in processes) / 2**20


if __name__ == "__main__":
    main()
