"""What of a measurement goes into the row of one run: pure, apart from the counters at its first row.

Keys that the official client has too are called the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.system.cgroups import CgroupUse
from penstock.system.measured import MIB, NodeMeasurement, Rates
from penstock.system.processes import TreeUse

__all__ = ["PREFIX", "Baseline", "gpu_values", "limited", "memory_values", "tree_values"]

PREFIX = "system."
_MIN_CPUS = 0.01


@dataclass
class Baseline:
    """What one run compares with: totals at its first row, its processes' counters at the last one."""

    totals: dict[str, float] = field(default_factory=dict)
    rates: Rates = field(default_factory=Rates)

    def since_first(self, totals: Mapping[str, float]) -> dict[str, float]:
        """What was added to the totals since the run's first row."""
        added = {}
        for name, total in totals.items():
            first = self.totals.setdefault(name, total)
            if total < first:  # the counter began again
                first = self.totals[name] = 0.0
            added[name] = total - first
        return added


def limited(node: NodeMeasurement, use: CgroupUse) -> NodeMeasurement:
    """The machine as a process in this group may use it; `values` and `totals` are the machine's own."""
    memory, available = node.memory_bytes, node.available_bytes
    if use.memory_bytes is not None and use.memory_bytes < memory:
        memory = use.memory_bytes
        available = min(available, max(0.0, memory - (use.memory_used_bytes or 0.0)))
    return NodeMeasurement(node.values, node.totals, memory, available)


def memory_values(node: NodeMeasurement, rss_bytes: float) -> dict[str, float]:
    """`node` as limited by the run's group."""
    found = {"proc.memory.availableMB": node.available_bytes / MIB}
    if node.memory_bytes:
        found["memory_percent"] = 100.0 * (1.0 - node.available_bytes / node.memory_bytes)
        found["proc.memory.percent"] = 100.0 * rss_bytes / node.memory_bytes
    return found


def tree_values(
    trees: Mapping[int, TreeUse], use: CgroupUse, cpus: float, baseline: Baseline, now: float
) -> dict[str, float]:
    """Of the process trees of the run's ranks on this node, by rank; `cpus`: how many they may use."""
    if not any(
        tree.pids for tree in trees.values()
    ):  # gone, or on a system that does not show them
        return {}
    cpus = max(_MIN_CPUS, min(cpus, use.cpus if use.cpus is not None else cpus))
    counters: dict[str, float] = {f"cpu.{rank}": tree.cpu_s for rank, tree in trees.items()}
    counters["read"] = sum(tree.read_bytes for tree in trees.values())
    counters["written"] = sum(tree.written_bytes for tree in trees.values())
    if use.periods is not None and use.throttled is not None:
        counters["periods"], counters["throttled"] = use.periods, use.throttled
    rates = baseline.rates.of(counters, now)
    found = {
        "proc.memory.rssMB": sum(tree.rss_mb for tree in trees.values()),
        "proc.cpu.threads": float(sum(tree.threads for tree in trees.values())),
        "proc.count": float(sum(len(tree.pids) for tree in trees.values())),
        "proc.files": float(sum(tree.files for tree in trees.values())),
        "cpu.limit": cpus,
    }
    busy = {rank: rates[name] for rank in trees if (name := f"cpu.{rank}") in rates}
    if busy:
        found["cpu"] = min(100.0, 100.0 * sum(busy.values()) / cpus)
    for name, key in (("read", "proc.disk.inBps"), ("written", "proc.disk.outBps")):
        if name in rates:
            found[key] = rates[name]
    if rates.get("periods"):
        share = rates.get("throttled", 0.0) / rates["periods"]
        found["proc.cpu.throttledPercent"] = min(100.0, 100.0 * share)
    if use.oom_kills is not None:
        found["proc.memory.oomKills"] = baseline.since_first({"oomKills": use.oom_kills})[
            "oomKills"
        ]
    if len(trees) > 1:
        for rank, tree in trees.items():
            found[f"rank.{rank}.memory.rssMB"] = tree.rss_mb
            if rank in busy:
                found[f"rank.{rank}.cores"] = busy[rank]
    return found


def gpu_values(gpus: Sequence[Mapping[str, Any]], pids: set[int]) -> dict[str, float]:
    """Of all GPUs of the node, and of those on which the run's processes are."""
    found: dict[str, float] = {}
    for index, gpu in enumerate(gpus):
        for key, value in gpu.items():
            if isinstance(value, (int, float)):
                found[f"gpu.{index}.{key}"] = float(value)
        own = [used for pid, used in (gpu.get("pids") or {}).items() if int(pid) in pids]
        if not own:
            continue
        found[f"gpu.process.{index}.memoryUsedBytes"] = float(sum(own))
        for key in ("gpu", "memory", "memoryAllocated", "temp", "powerWatts", "powerPercent"):
            if key in gpu:
                found[f"gpu.process.{index}.{key}"] = float(gpu[key])
    return found
