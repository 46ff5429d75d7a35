"""CPU, memory, threads, open files and I/O of process trees: a rank with its data loader's workers."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from penstock.system.files import names_in, read
from penstock.system.measured import MIB

__all__ = ["ProcessTrees", "TreeUse"]

_MAX_PROCESSES = 512
"""Of a tree that are measured."""
_MAX_FILES_OF = 16
"""Processes whose open files are counted: the kernel lists them one by one."""
_PSS_COST = 1_000
"""Proportional memory takes the kernel long for large processes: at most this fraction of the time is spent on it."""
_MAX_PSS_RSS_BYTES = 8 << 30


@dataclass
class TreeUse:
    """CPU times and I/O since each process began, the rest now. `pids` are all processes of the tree."""

    cpu_s: float = 0.0
    rss_bytes: float = 0.0
    threads: int = 0
    files: int = 0
    read_bytes: float = 0.0
    written_bytes: float = 0.0
    pids: list[int] = field(default_factory=list)

    @property
    def rss_mb(self) -> float:
        return self.rss_bytes / MIB


class ProcessTrees:
    """All processes that this one can see. Call `look` before a round of `use_of`."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = str(proc)
        self._tick_s = 1.0 / os.sysconf("SC_CLK_TCK")
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._parents: dict[int, int] = {}
        self._children: dict[int, list[int]] = {}
        self._pss_at: dict[int, float] = {}
        self._uses: dict[int, TreeUse] = {}

    def look(self) -> None:
        """Find the processes that came and went. Only new ones are read: a process seldom changes its parent."""
        found = {int(name) for name in names_in(self._proc) if name.isdigit()}
        for pid in self._parents.keys() - found:
            del self._parents[pid]
        for pid in found - self._parents.keys():
            words = self._stat(pid)
            if len(words) > 1:
                self._parents[pid] = int(words[1])
        children: dict[int, list[int]] = {}
        for pid, parent in self._parents.items():
            children.setdefault(parent, []).append(pid)
        self._children = children
        self._uses.clear()
        self._pss_at = {pid: at for pid, at in self._pss_at.items() if pid in found}

    def use_of(self, pid: int) -> TreeUse:
        """The use of a process and of all below it; the same until the next `look`."""
        if pid not in self._uses:
            self._uses[pid] = self._use_of(pid)
        return self._uses[pid]

    def _use_of(self, pid: int) -> TreeUse:
        use = TreeUse()
        waiting = [pid]
        while waiting and len(use.pids) < _MAX_PROCESSES:
            each = waiting.pop()
            words = self._stat(each)
            if len(words) <= 21:
                continue
            waiting += self._children.get(each, ())
            use.pids.append(each)
            # Times of children that were waited for included: short ones would else not count.
            use.cpu_s += sum(map(int, words[11:15])) * self._tick_s
            use.threads += int(words[17])
            use.rss_bytes += int(words[21]) * self._page_bytes
            if len(use.pids) <= _MAX_FILES_OF:
                use.files += len(names_in(f"{self._proc}/{each}/fd"))
            self._add_io(use, each)
        return use

    def pss_mb(self, use: TreeUse, now: float, clock_s: float) -> float | None:
        """Its memory with shared pages counted once, in MiB; None if that is not due, or would take too long.

        `now` is monotonic; `clock_s` is this process's CPU time, of which it may spend a thousandth.
        """
        root = use.pids[0] if use.pids else 0
        if not root or now < self._pss_at.get(root, 0.0) or use.rss_bytes > _MAX_PSS_RSS_BYTES:
            return None
        total = sum(map(self._pss_bytes, use.pids))
        cost_s = max(0.0, sum(os.times()[:2]) - clock_s)
        self._pss_at[root] = now + max(60.0, cost_s * _PSS_COST)
        return total / MIB if total else None

    def _pss_bytes(self, pid: int) -> float:
        for line in read(f"{self._proc}/{pid}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                return float(line.split()[1]) * 1024
        return 0.0

    def _add_io(self, use: TreeUse, pid: int) -> None:
        for line in read(f"{self._proc}/{pid}/io").splitlines():
            name, _, value = line.partition(": ")
            if name == "read_bytes":
                use.read_bytes += float(value)
            elif name == "write_bytes":
                use.written_bytes += float(value)

    def _stat(self, pid: int) -> list[str]:
        """The fields after the name, which may contain anything; the state is the first."""
        return read(f"{self._proc}/{pid}/stat").rpartition(")")[2].split()
