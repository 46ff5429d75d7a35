"""Tensors on a CUDA device: logged without waiting for it. Skipped where there is none."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.logged_values import LoggedValues, check_histogram
from support.watched import WatchedRun

from penstock.watching.watch import unwatch, watch

# Importing torch takes seconds, in vain on most machines.
if not Path("/dev/nvidiactl").exists() or importlib.util.find_spec("torch") is None:
    pytest.skip("needs a CUDA device", allow_module_level=True)
torch: Any = importlib.import_module("torch")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
SLEEP_CYCLES = 1_000_000_000
"""About half a second of the device's time."""


@pytest.fixture
def logged(tmp_path: Path) -> LoggedValues:
    return LoggedValues(tmp_path)


@contextmanager
def busy_device() -> Iterator[None]:
    """The device is busy; nothing within may wait for it."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    done = torch.cuda.Event()
    try:
        torch.cuda._sleep(SLEEP_CYCLES)
        done.record()
        yield
        assert not done.query(), "something waited for the device"
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("kind", ["float32", "float64", "bfloat16", "float16", "int64", "bool"])
@pytest.mark.parametrize("elements", [1, 100, 100_000])
def test_log_does_not_wait(logged: LoggedValues, kind: str, elements: int) -> None:
    tensor = torch.ones(elements, device="cuda").to(getattr(torch, kind))
    logged.writer.log({"tensor": tensor})  # the first time takes longer
    logged.drain()
    with busy_device():
        logged.writer.log({"tensor": tensor})
        tensor.zero_()  # later on the stream
    found = logged.values()["tensor"]
    if elements == 1:
        assert found == 1.0
    else:
        check_histogram(found, elements)
        assert found["bins"][0] > 0.1


def test_a_stream_of_its_own(logged: LoggedValues) -> None:
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(SLEEP_CYCLES // 10)
        tensor = torch.full((50_000,), 2.0, device="cuda")
        logged.writer.log({"tensor": tensor, "scalar": tensor.mean()})
        tensor.zero_()
    found = logged.values()
    assert found["scalar"] == 2.0
    check_histogram(found["tensor"], 50_000)
    assert found["tensor"]["bins"][0] > 1


def test_odd_tensors(logged: LoggedValues) -> None:
    ones = torch.ones(5_000, device="cuda")
    logged.writer.log(
        {
            "complex": ones * 1j,
            "float8": ones.to(torch.float8_e4m3fn),
            "sparse": torch.eye(40, device="cuda").to_sparse(),
            "grad": (ones * 2).requires_grad_(),
            "not finite": torch.cat([ones, ones / 0]),
            "list": {"inner": [torch.arange(3, device="cuda")]},
        }
    )
    found = logged.values()
    elements = {
        "complex": 5_000,
        "float8": 5_000,
        "sparse": 1_600,
        "grad": 5_000,
        "not finite": 5_000,
    }
    for name, count in elements.items():
        check_histogram(found[name], count)
    assert "5,000 of its 10,000" in logged.notices()["not finite"]


def test_a_graph_that_is_captured(logged: LoggedValues) -> None:
    static = torch.ones(8, device="cuda")
    logged.writer.log({"before": static.sum()})
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = static * 2
        logged.writer.log({"within": result, "plain": 1.0})
        time.sleep(0.2)  # the side thread reads what was logged before
    graph.replay()
    logged.writer.log({"after": result.sum()})
    found = logged.values()
    assert (found["before"], found["plain"], found["after"]) == (8.0, 1.0, 16.0)
    assert "within" not in found
    assert "after the graph's replay" in logged.notices()["within"]


def test_watch_does_not_wait(tmp_path: Path) -> None:
    run = WatchedRun(tmp_path)
    model = torch.nn.Sequential(*(torch.nn.Linear(300, 300) for _ in range(3))).cuda()
    inputs = torch.ones(4, 300, device="cuda")
    watch(run, model, log="all", log_freq=1)
    model(inputs).square().mean().backward()
    run.logged.drain()
    model.zero_grad(set_to_none=False)
    with busy_device():
        model(inputs).square().mean().backward()
    norms = {name: each.grad.norm().item() for name, each in model.named_parameters()}
    found = run.values()
    unwatch(run)
    for name, norm in norms.items():
        assert found[f"grad_norm/{name}"] == pytest.approx(norm, rel=1e-4)
    check_histogram(found["gradients/0.weight"], 90_000)


def test_the_scale_is_taken_out(tmp_path: Path) -> None:
    run = WatchedRun(tmp_path)
    model = torch.nn.Linear(8, 8).cuda()
    inputs = torch.ones(4, 8, device="cuda")
    scaler = torch.amp.GradScaler("cuda", init_scale=4096.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    watch(run, model, log_freq=1)
    norm = 0.0
    for _ in range(2):
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.float16):
            loss = model(inputs).float().square().mean()
        scaler.scale(loss).backward()
        norm = model.weight.grad.norm().item() / scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        run.log({"loss": loss})
    found = run.values()
    unwatch(run)
    assert found["grad_norm/weight"] == pytest.approx(norm, rel=1e-3)
