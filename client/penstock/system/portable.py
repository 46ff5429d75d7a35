"""The machine as psutil shows it, where there is no /proc: fewer metrics under the same names. Not run on macOS."""

from __future__ import annotations

import os
from collections.abc import Iterable

import psutil

from penstock.system.measured import MIB, NodeMeasurement, Rates

__all__ = ["PortableNode", "portable_disk_usage"]


class PortableNode:
    """Measures this machine."""

    def __init__(self) -> None:
        self._rates = Rates()

    def measure(self, now: float) -> NodeMeasurement:
        """`now`: monotonic seconds."""
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        found = NodeMeasurement(
            memory_bytes=float(memory.total),
            available_bytes=float(memory.available),
        )
        cores = psutil.cpu_percent(percpu=True)
        found.values = {
            "node.cpu": sum(cores) / max(1, len(cores)),
            "node.cpu.max": max(cores, default=0.0),
            "node.load1": os.getloadavg()[0],
        }
        if swap.total:
            found.values["swap.used_percent"] = float(swap.percent)
        counters = {}
        if network := psutil.net_io_counters():
            counters["network.sent"] = float(network.bytes_sent)
            counters["network.recv"] = float(network.bytes_recv)
        if disks := psutil.disk_io_counters():
            found.totals["disk.in"] = disks.read_bytes / MIB
            found.totals["disk.out"] = disks.write_bytes / MIB
        found.totals.update(counters)
        rates = self._rates.of(counters, now)
        found.values.update({f"{name}Bps": rate for name, rate in rates.items()})
        return found


def portable_disk_usage(folders: Iterable[str]) -> dict[str, float]:
    """The usage of the file system at /."""
    usage = psutil.disk_usage("/")
    return {
        "disk./.usagePercent": float(usage.percent),
        "disk./.usageGB": usage.used / 1024 / MIB,
    }
