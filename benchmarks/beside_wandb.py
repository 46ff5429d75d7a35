"""P20: what a training script pays for its tracking client: ours beside the official `wandb`, in turn.

Both log to the same installation. Every figure is from fresh processes, which alternate between the
clients. Compare CPU times: on a busy machine wall times say little. It takes about five minutes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.report import Row
from benchmarks.stack import Stack, running

__all__ = ["rows"]

_ROUNDS = 3
_STEPS = 1_000
_SIZES = ((1_000, 10, 5, 2), (2_236, 20, 2, 1))
"""Width and number of layers, intervals per process, processes of each client: 10 and 100 million parameters."""
_LEAST_TIMES = 5.0
_TIMEOUT_S = 300.0
_SCRIPT = Path(__file__).parent / "one_client.py"
# In a bare process: a client's imports may be those of a script, too.
_START = """
import sys, time
begun, begun_s = time.perf_counter(), time.process_time()
client = __import__(sys.argv[1])
ready, ready_s = time.perf_counter(), time.process_time()
run = client.init(project="bench")
started, started_s = time.perf_counter(), time.process_time()
run.finish()
figures = (ready - begun, ready_s - begun_s, started - ready, started_s - ready_s)
names = ("import_ms", "import_cpu_ms", "init_ms", "init_cpu_ms")
print("{%s}" % ", ".join('"%s": %f' % (n, 1e3 * f) for n, f in zip(names, figures)))
"""

_Found = dict[str, list[dict[str, Any]]]
"""What the processes of each client have found."""


def rows(seconds: float) -> Iterator[Row]:
    """All of P20; fewer rounds if `seconds` is below 10. Nothing without torch and wandb."""
    missing = [name for name in ("torch", "wandb") if find_spec(name) is None]
    if missing:
        print(f"  P20  skipped: needs {' and '.join(missing)} in this environment")
        return
    rounds = _ROUNDS if seconds >= 10 else 1
    with running() as stack:
        yield from _start_rows(_found(stack, ("penstock", "wandb"), "start", rounds=rounds))
        yield from _call_rows(_found(stack, ("penstock", "wandb"), "calls", rounds=rounds))
        yield from _step_rows(
            _found(stack, ("none", "penstock", "wandb"), "steps", _STEPS, rounds=rounds)
        )
        for *size, most in _SIZES:
            found = _found(stack, ("penstock", "wandb"), "watch", *size, rounds=min(rounds, most))
            yield from _watch_rows(found)


def _found(stack: Stack, names: tuple[str, ...], part: str, *arguments: int, rounds: int) -> _Found:
    found: _Found = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            try:
                found[name].append(_of_process(stack, name, part, arguments))
            except (subprocess.SubprocessError, ValueError, IndexError) as error:
                print(f"  P20  {name}, {part}: {_reason(error)}")
    return found


def _of_process(stack: Stack, name: str, part: str, arguments: tuple[int, ...]) -> dict[str, Any]:
    """Run a process with a home and data folders of its own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", ignore_cleanup_errors=True) as folder:
        kept = {
            each: value
            for each, value in os.environ.items()
            if not each.startswith(("PENSTOCK_", "WANDB_"))
        }
        environ = {
            **kept,
            "HOME": folder,
            "XDG_CONFIG_HOME": folder,
            "PENSTOCK_BASE_URL": stack.url,
            "PENSTOCK_API_KEY": stack.api_key,
            "PENSTOCK_DIR": folder,
            "PENSTOCK_SILENT": "1",
            "WANDB_BASE_URL": stack.url,
            "WANDB_API_KEY": stack.api_key,
            "WANDB_DIR": folder,
            "WANDB_CACHE_DIR": folder,
            "WANDB_CONFIG_DIR": folder,
            "WANDB_SILENT": "true",
            "WANDB_ERROR_REPORTING": "false",
        }
        script = ["-c", _START, name] if part == "start" else [str(_SCRIPT), name, part]
        command = [sys.executable, *script, *map(str, arguments)]
        try:
            done = subprocess.run(
                command, env=environ, cwd=folder, capture_output=True, text=True,
                timeout=_TIMEOUT_S, check=True,
            )  # fmt: skip
        finally:
            _end_shipper(Path(folder))
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _end_shipper(folder: Path) -> None:
    with suppress(OSError, ValueError, IndexError):
        os.kill(int((folder / "shipper.lock").read_text().split()[0]), signal.SIGTERM)


def _start_rows(found: _Found) -> Iterator[Row]:
    if not all(found.values()):
        return
    for what in ("import", "init"):
        wall = {name: _median(each, f"{what}_ms") for name, each in found.items()}
        cpu = {name: _median(each, f"{what}_cpu_ms") for name, each in found.items()}
        text = {name: f"{cpu[name]:.1f} ms of CPU, {wall[name]:.0f} ms" for name in found}
        yield _row(what, text, cpu)


def _call_rows(found: _Found) -> Iterator[Row]:
    if not all(found.values()):
        return
    for keys in (1, 10, 100, 1_000):
        figures = {
            name: {
                unit: median(one[f"log_{keys}"][unit] for one in each)
                for unit in ("p50_us", "p99_us", "cpu_us")
            }
            for name, each in found.items()
        }
        yield _row(
            f"log() with {keys:,} value{'s' * (keys > 1)}",
            {
                name: f"p50 {each['p50_us']:.1f}, p99 {each['p99_us']:.0f} µs;"
                f" CPU {each['cpu_us']:.0f} µs"
                for name, each in figures.items()
            },
            {name: each["p50_us"] for name, each in figures.items()},
        )
    memory = {
        name: (_median(each, "pss_mib"), _median(each, "helper_pss_mib"))
        for name, each in found.items()
    }
    yield _row(
        "memory (PSS) after logging: process + helper",
        {name: f"{own:.0f} + {helper:.0f} MiB" for name, (own, helper) in memory.items()},
        {name: own + helper for name, (own, helper) in memory.items()},
    )
    helper_ms = {name: _median(each, "helper_cpu_ms") for name, each in found.items()}
    text = {name: f"{each:.0f} ms" for name, each in helper_ms.items()}
    yield _row("CPU of the helper, from its start, for 4,640 calls", text, helper_ms)
    took_ms = {name: _median(each, "finish_ms") for name, each in found.items()}
    text = {name: f"{each:.0f} ms" for name, each in took_ms.items()}
    yield _row("finish after 4,640 calls", text, took_ms)


def _step_rows(found: _Found) -> Iterator[Row]:
    if not all(found.values()):
        return
    bare = _median(found["none"], "cpu_us")
    added = {name: _median(found[name], "cpu_us") - bare for name in ("penstock", "wandb")}
    yield _row(
        f"CPU that logging 3 values adds to a step of a small model ({bare:.0f} µs without)",
        {name: f"{each:.0f} µs" for name, each in added.items()},
        added,
    )


def _watch_rows(found: _Found) -> Iterator[Row]:
    if not all(found.values()):
        return
    parameters = found["penstock"][0]["parameters"]
    for log in ("gradients", "all"):
        figures = {
            name: {
                unit: median(one[log][unit] for one in each)
                for unit in ("cpu_ms", "helper_cpu_ms", "slowest_ms", "plain_cpu_ms")
            }
            for name, each in found.items()
        }
        cost = {name: each["cpu_ms"] for name, each in figures.items()}
        yield _row(
            f'watch(log="{log}"), {parameters / 1e6:.0f} M parameters: CPU per logged interval'
            f" (a pass without: {figures['penstock']['plain_cpu_ms']:.0f} ms)",
            {
                name: f"{each['cpu_ms']:.0f} ms + helper {each['helper_cpu_ms']:.0f},"
                f" slowest pass {each['slowest_ms']:.0f} ms"
                for name, each in figures.items()
            },
            cost,
            target=f"≤ 1/{_LEAST_TIMES:.0f} of wandb's CPU",
            meets=cost["penstock"] * _LEAST_TIMES <= cost["wandb"],
        )


def _row(
    what: str, text: dict[str, str], compared: dict[str, float], target: str = "",
    meets: bool | None = None,
) -> Row:  # fmt: skip
    ours, theirs = compared["penstock"], compared["wandb"]
    ratio = f"; {theirs / ours:.0f} x ours" if ours > 0 and theirs / ours >= 10 else ""
    if ours > 0 and not ratio:
        ratio = f"; {theirs / ours:.1f} x ours"
    reference = f"wandb {_version()}: {text['wandb']}{ratio}"
    return Row("P20", what, text["penstock"], target, reference, meets)


def _version() -> str:
    try:
        return version("wandb")
    except PackageNotFoundError:
        return "without a version"


def _median(found: list[dict[str, Any]], unit: str) -> float:
    return float(median(each[unit] for each in found))


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = (error.stderr or "").strip().splitlines()
        return lines[-1] if lines else f"exit code {error.returncode}"
    return str(error)
