"""Runs one of Penstock's processes with something altered that no setting alters.

    PYTHONPATH=tests python -m support.altered [--stalled S] [--heartbeat S] [--clock FILE] MODULE ARGUMENTS…

`--stalled` replaces the 15 minutes after which a shipper sends again what does not get committed,
`--heartbeat` the 15 seconds between a shipper's heartbeats.
`--clock` adds the number of seconds that FILE holds to the wall clock, whenever it is asked: a step of
the clock is a write to that file. The monotonic clock goes on as it does on a machine whose wall
clock is set.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import runpy
import sys
import time
from pathlib import Path

__all__ = ["command", "step_clock"]


def command(
    module: str,
    *arguments: str,
    stalled_s: float | None = None,
    heartbeat_s: float | None = None,
    clock: Path | None = None,
) -> list[str]:
    """How to start `python -m module arguments` like this, with `tests` on the path."""
    options = [] if stalled_s is None else ["--stalled", str(stalled_s)]
    options += [] if heartbeat_s is None else ["--heartbeat", str(heartbeat_s)]
    options += [] if clock is None else ["--clock", str(clock)]
    return [sys.executable, "-m", "support.altered", *options, module, *arguments]


def step_clock(clock: Path, seconds: float) -> None:
    """Set the clock of everything that runs with `clock` so far from the true time."""
    fresh = clock.with_suffix(".new")
    fresh.write_text(str(seconds))
    fresh.replace(clock)


def main() -> None:
    parser = argparse.ArgumentParser(prog="support.altered")
    parser.add_argument("--stalled", type=float)
    parser.add_argument("--heartbeat", type=float)
    parser.add_argument("--clock", type=Path)
    parser.add_argument("module")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if options.clock is not None:
        _alter_clock(options.clock)
    if options.stalled is not None:
        _alter_constant("STALLED_S", options.stalled)
    if options.heartbeat is not None:
        _alter_constant("INTERVAL_S", options.heartbeat)
    sys.argv = [options.module, *options.arguments]
    runpy.run_module(options.module, run_name="__main__", alter_sys=True)


def _alter_clock(clock: Path) -> None:
    """Before anything of Penstock is imported: some modules keep `time_ns` under a name of their own."""
    true_time, true_time_ns = time.time, time.time_ns
    time.time = lambda: true_time() + float(clock.read_text())
    time.time_ns = lambda: true_time_ns() + round(float(clock.read_text()) * 1e9)


def _alter_constant(name: str, value: float) -> None:
    """Of the shipper, in whichever of its modules it is."""
    package = importlib.import_module("penstock.shipper")
    altered = 0
    for found in pkgutil.iter_modules(package.__path__, "penstock.shipper."):
        if found.name.endswith("__main__"):
            continue
        module = importlib.import_module(found.name)
        if hasattr(module, name):
            setattr(module, name, value)
            altered += 1
    if not altered:
        sys.exit(f"support.altered: the shipper has no {name} any more")


if __name__ == "__main__":
    main()
