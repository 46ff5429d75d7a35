"""Whether an installation with one slow run stays as it is, for as long as you let it.

    python -m benchmarks.steady --minutes 30

Prints processor time by role, memory, files, folders of parts and bytes on disk, once a minute. A figure
grows if its mean over the last third is above that of the middle third by more than the row allows: the
first third is for caches to fill. Points take their bytes on disk; that is growth by design.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from benchmarks.light import cpu_seconds, disk_bytes, files_below, training
from benchmarks.light_load import LOADS, SETTLE_S, Load
from benchmarks.machine import describe
from benchmarks.spools import spool_folder
from benchmarks.stack import Stack, running

__all__ = ["Sample", "growing", "main"]

_MINUTE_S = 60.0
_MIB = 2**20
_ALLOWED = {"cores": 0.10, "server MiB": 0.02, "client MiB": 0.02, "files": 0.05, "parts": 0.05}
"""By how much of itself a figure may rise from the middle third to the last."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One minute: `figures` by name; `cores` by role, `disk_mib` as allocated."""

    figures: Mapping[str, float]
    cores: Mapping[str, float]
    disk_mib: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.steady", description=__doc__)
    parser.add_argument("--minutes", type=int, default=30, help="how long (%(default)s)")
    minutes: int = parser.parse_args().minutes
    load, samples = LOADS[0], []
    print(f"{load.name}; " + ", ".join(f"{name} {value}" for name, value in describe().items()))
    with (
        running() as stack,
        spool_folder() as spool,
        training(stack, load, spool) as clients,
    ):
        time.sleep(SETTLE_S)
        for minute in range(minutes):
            samples.append(_minute(stack, clients))
            print(f"{minute + 1:4}  {_shown(samples[-1])}", flush=True)
    return _conclude(samples, load)


def _minute(stack: Stack, clients: list[int]) -> Sample:
    before, started = cpu_seconds(stack, clients), time.monotonic()
    time.sleep(_MINUTE_S)
    took_s = time.monotonic() - started
    after = cpu_seconds(stack, clients)
    cores = {role: (after[role] - before[role]) / took_s for role in after}
    files = list(files_below(stack.data))
    figures = {
        "cores": sum(cores.values()),
        "server MiB": stack.pss_bytes() / _MIB,
        "client MiB": sum(_pss_of(pid) for pid in clients) / _MIB,
        "files": float(len(files)),
        "parts": float(sum(path.name == "checksums.txt" for path in files)),
    }
    return Sample(figures, cores, disk_bytes(stack.data) / _MIB)


def _pss_of(pid: int) -> int:
    with contextlib.suppress(psutil.NoSuchProcess):
        return int(psutil.Process(pid).memory_full_info().pss)
    return 0


def growing(samples: list[Sample]) -> list[str]:
    """The figures that grow."""
    third = len(samples) // 3
    middle, last = samples[-2 * third : -third], samples[-third:]
    found = []
    for name, allowed in _ALLOWED.items():
        before = statistics.fmean(each.figures[name] for each in middle)
        after = statistics.fmean(each.figures[name] for each in last)
        if after > before * (1 + allowed):
            found.append(f"{name}: {before:.3f} -> {after:.3f}")
    return found


def _shown(sample: Sample) -> str:
    figures = ", ".join(f"{name} {value:.4g}" for name, value in sample.figures.items())
    roles = ", ".join(f"{role} {value:.4f}" for role, value in sample.cores.items())
    return f"{figures}, disk {sample.disk_mib:.2f} MiB ({roles})"


def _conclude(samples: list[Sample], load: Load) -> int:
    third = len(samples) // 3
    if not third:
        return 0
    grown = (samples[-1].disk_mib - samples[third].disk_mib) * _MIB
    points = load.points_per_s * _MINUTE_S * (len(samples) - 1 - third)
    print(f"disk: {grown / points:.1f} B per point after the first third")
    found = growing(samples)
    print("grows: " + "; ".join(found) if found else "nothing grows")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
