"""The machine as psutil shows it, where there is no /proc: fewer metrics under the same names. Not run on macOS."""

from __future__ import annotations

import os

import psutil

from penstock.system.measured import MIB, NodeMeasurement, Rates

__all__ = ["PortableNode"]


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
        usage = psutil.disk_usage("/")
        found.values["disk./.usagePercent"] = float(usage.percent)
        found.values["disk./.usageGB"] = usage.used / 1024 / MIB
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
