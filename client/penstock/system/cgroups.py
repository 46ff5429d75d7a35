"""Limits and counters of a process's control group, versions 1 and 2, as containers and Slurm set them.

A limit may be set at any level above the process: the tightest one counts, and what is used is measured at
that level. In a container the kernel shows paths relative to the container's own group, or not at all; what
is mounted then stands for the process's group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from penstock.system.files import number, read

__all__ = ["CgroupUse", "Cgroups"]

_UNLIMITED_BYTES = 1 << 60
_MAX_LEVELS = 32


@dataclass
class CgroupUse:
    """`cpus` and `memory_bytes` are limits, None without one; `memory_used_bytes` leaves out file pages that the
    kernel can drop. Counters: periods, and those in which the group was `throttled`; processes killed for
    memory."""

    cpus: float | None = None
    memory_bytes: float | None = None
    memory_used_bytes: float | None = None
    periods: float | None = None
    throttled: float | None = None
    oom_kills: float | None = None


class _Mount(NamedTuple):
    point: str
    root: str
    """The group that is mounted there."""


class Cgroups:
    """Reads the groups of processes."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = str(proc)
        self._mounts: dict[str, _Mount] | None = None
        self._uses: dict[str, CgroupUse] = {}

    def look(self) -> None:
        """Read the files again from now on."""
        self._uses.clear()

    def use_of(self, pid: int) -> CgroupUse:
        """Empty where there are no groups, or the process is gone."""
        text = read(f"{self._proc}/{pid}/cgroup")
        if text not in self._uses:
            self._uses[text] = self._use_of_group(dict(_paths(text)))
        return self._uses[text]

    def _use_of_group(self, paths: dict[str, str]) -> CgroupUse:
        if self._mounts is None:
            self._mounts = dict(_mounts(read(f"{self._proc}/self/mountinfo")))
        found = CgroupUse()
        self._add_second(found, self._levels("", paths))
        self._add_first(found, self._levels("cpu", paths), self._levels("memory", paths))
        return found

    def _levels(self, controller: str, paths: dict[str, str]) -> list[str]:
        """The folders of a process's group and of all above it, as far as they are mounted."""
        mount = (self._mounts or {}).get(controller)
        path = paths.get(controller)
        if mount is None or path is None:
            return []
        inside = PurePosixPath(path)
        root = PurePosixPath(mount.root)
        if ".." not in inside.parts and inside.is_relative_to(root):
            inside = inside.relative_to(root)
        else:  # of another namespace
            inside = PurePosixPath()
        parts = [part for part in inside.parts if part != "/"][:_MAX_LEVELS]
        folders = ["/".join([mount.point, *parts[:count]]) for count in range(len(parts), -1, -1)]
        return [each for each in folders if read(f"{each}/cgroup.procs") or Path(each).is_dir()]

    def _add_second(self, found: CgroupUse, levels: list[str]) -> None:
        for folder in levels:
            quota, _, period = read(f"{folder}/cpu.max").strip().partition(" ")
            if quota.isdigit() and period.isdigit():
                cpus = int(quota) / max(1, int(period))
                if found.cpus is None or cpus < found.cpus:
                    counters = _pairs(read(f"{folder}/cpu.stat"))
                    found.cpus = cpus
                    found.periods = counters.get("nr_periods")
                    found.throttled = counters.get("nr_throttled")
            limit = number(f"{folder}/memory.max")
            if limit is not None and (found.memory_bytes is None or limit < found.memory_bytes):
                found.memory_bytes = limit
                found.memory_used_bytes = _used(folder, "memory.current", "inactive_file")
            kills = _pairs(read(f"{folder}/memory.events")).get("oom_kill")
            if kills is not None and found.oom_kills is None:
                found.oom_kills = kills

    def _add_first(self, found: CgroupUse, cpu: list[str], memory: list[str]) -> None:
        for folder in cpu:
            quota = number(f"{folder}/cpu.cfs_quota_us")
            period = number(f"{folder}/cpu.cfs_period_us")
            if quota is None or quota <= 0 or not period:
                continue
            if found.cpus is None or quota / period < found.cpus:
                counters = _pairs(read(f"{folder}/cpu.stat"))
                found.cpus = quota / period
                found.periods = counters.get("nr_periods")
                found.throttled = counters.get("nr_throttled")
        for folder in memory:
            limit = number(f"{folder}/memory.limit_in_bytes")
            if limit is not None and limit < min(_UNLIMITED_BYTES, found.memory_bytes or 1 << 62):
                found.memory_bytes = limit
                found.memory_used_bytes = _used(
                    folder, "memory.usage_in_bytes", "total_inactive_file"
                )
            kills = _pairs(read(f"{folder}/memory.oom_control")).get("oom_kill")
            if kills is not None and found.oom_kills is None:
                found.oom_kills = kills


def _used(folder: str, usage: str, droppable: str) -> float | None:
    used = number(f"{folder}/{usage}")
    if used is None:
        return None
    return max(0.0, used - _pairs(read(f"{folder}/memory.stat")).get(droppable, 0.0))


def _pairs(text: str) -> dict[str, float]:
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if value.strip().isdigit():
            found[name] = float(value)
    return found


def _paths(text: str) -> Iterator[tuple[str, str]]:
    """(controller, path); the controller of version 2 is ''."""
    for line in text.splitlines():
        _, controllers, path = [*line.split(":", 2), "", "", ""][:3]
        for controller in controllers.split(","):
            if path:
                yield controller, path


def _mounts(text: str) -> Iterator[tuple[str, _Mount]]:
    """(controller, where it is mounted); the controller of version 2 is ''."""
    for line in text.splitlines():
        left, separator, right = line.partition(" - ")
        words, kinds = left.split(" "), right.split(" ")
        if not separator or len(words) < 5 or len(kinds) < 3:
            continue
        mount = _Mount(words[4].replace("\\040", " "), words[3].replace("\\040", " "))
        if kinds[0] == "cgroup2":
            yield "", mount
        elif kinds[0] == "cgroup":
            for controller in kinds[2].split(","):
                yield controller, mount
