"""The machine as Linux shows it in /proc and /sys: CPU, memory, load, disks, network."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from penstock.system.files import names_in, number, read
from penstock.system.measured import MIB, NodeMeasurement, Rates

__all__ = ["DiskUsage", "LinuxNode"]

_SECTOR_BYTES = 512
_NOT_A_DISK = re.compile(r"(loop|ram|zram|dm-|md|sr|fd|nbd)\d*")
_MAX_DISKS = 8
"""Devices with keys of their own; above that only their sums."""
_NOT_A_NETWORK = re.compile(r"(lo|docker\d+|veth.*|br-.*|cni\d+|flannel.*|cali.*|virbr\d+.*)")
_LIST_EVERY = 60
"""Devices are listed again after so many looks."""
_MOUNTS_S = 60.0
"""How often mounts are listed again."""
_GIB = 1 << 30
_LOCAL = frozenset(
    {
        "ext2",
        "ext3",
        "ext4",
        "xfs",
        "btrfs",
        "zfs",
        "f2fs",
        "bcachefs",
        "overlay",
        "tmpfs",
        "jfs",
        "vfat",
    }
)
"""Only these are asked for their usage: a file server that is gone never answers."""


class LinuxNode:
    """Measures this machine; `proc` and `sys` are where the kernel's files are."""

    def __init__(self, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> None:
        self._proc, self._sys = str(proc), str(sys)
        self._cpu: dict[str, list[int]] = {}
        self._rates = Rates()
        self._looks = 0
        self._disks: list[str] = []
        self._networks: list[str] = []
        self._ports: list[str] = []

    def measure(self, now: float) -> NodeMeasurement:
        """`now`: monotonic seconds."""
        if self._looks % _LIST_EVERY == 0:
            self._list_devices()
        self._looks += 1
        found = NodeMeasurement()
        self._add_cpu(found)
        self._add_memory(found)
        counters = {**self._disk_counters(), **self._network_counters()}
        rates = self._rates.of(counters, now)
        self._add_disks(found, counters, rates)
        self._add_network(found, counters, rates)
        return found

    def _list_devices(self) -> None:
        blocks = names_in(f"{self._sys}/block")
        self._disks = [name for name in blocks if not _NOT_A_DISK.fullmatch(name)]
        networks = f"{self._sys}/class/net"
        self._networks = [
            name
            for name in names_in(networks)
            if not _NOT_A_NETWORK.fullmatch(name)
            # A part of another one, whose traffic would count twice.
            and not os.path.lexists(f"{networks}/{name}/master")
        ]
        fabric = f"{self._sys}/class/infiniband"
        self._ports = [
            f"{fabric}/{device}/ports/{port}/counters"
            for device in names_in(fabric)
            for port in names_in(f"{fabric}/{device}/ports")
        ]

    def _add_cpu(self, found: NodeMeasurement) -> None:
        before, self._cpu = self._cpu, dict(_cpu_times(read(f"{self._proc}/stat")))
        shares = {}
        for name, times in self._cpu.items():
            spent = [
                max(0, new - old) for new, old in zip(times, before.get(name, ()), strict=False)
            ]
            if total := sum(spent):
                shares[name] = [100.0 * each / total for each in spent]
        if all_of_them := shares.pop("cpu", None):
            found.values["node.cpu"] = _busy(all_of_them)
            found.values["node.cpu.iowait"] = all_of_them[4]
            found.values["node.cpu.steal"] = all_of_them[7]
        if shares:
            found.values["node.cpu.max"] = max(map(_busy, shares.values()))
        load = number(f"{self._proc}/loadavg")
        if load is not None:
            found.values["node.load1"] = load

    def _add_memory(self, found: NodeMeasurement) -> None:
        sizes = {}
        for line in read(f"{self._proc}/meminfo").splitlines():
            name, _, rest = line.partition(":")
            words = rest.split()
            if words and words[0].isdigit():
                sizes[name] = float(words[0]) * 1024
        found.memory_bytes = sizes.get("MemTotal", 0.0)
        found.available_bytes = sizes.get("MemAvailable", sizes.get("MemFree", 0.0))
        swap = sizes.get("SwapTotal", 0.0)
        if swap:
            used = swap - sizes.get("SwapFree", swap)
            found.values["swap.used_percent"] = 100.0 * used / swap

    def _disk_counters(self) -> dict[str, float]:
        """By device: bytes read and written, and ms during which it was busy."""
        counters = {}
        for line in read(f"{self._proc}/diskstats").splitlines():
            words = line.split()
            if len(words) < 14 or words[2] not in self._disks:
                continue
            name = f"disk.{words[2]}"
            counters[f"{name}.in"] = float(words[5]) * _SECTOR_BYTES
            counters[f"{name}.out"] = float(words[9]) * _SECTOR_BYTES
            counters[f"{name}.busy"] = float(words[12])
        return counters

    def _network_counters(self) -> dict[str, float]:
        recv = sent = errors = 0.0
        for line in read(f"{self._proc}/net/dev").splitlines():
            name, _, rest = line.partition(":")
            words = rest.split()
            if name.strip() in self._networks and len(words) >= 12:
                recv, sent = recv + float(words[0]), sent + float(words[8])
                errors += sum(float(words[at]) for at in (2, 3, 10, 11))
        counters = {"network.recv": recv, "network.sent": sent, "network.errors": errors}
        retransmits = _tcp_retransmits(read(f"{self._proc}/net/snmp"))
        if retransmits is not None:
            counters["network.tcpRetransmits"] = retransmits
        if self._ports:
            for name, file in (("sent", "port_xmit_data"), ("recv", "port_rcv_data")):
                words_of_4 = sum(number(f"{port}/{file}") or 0.0 for port in self._ports)
                counters[f"network.ib.{name}"] = 4.0 * words_of_4
        return counters

    def _add_disks(
        self, found: NodeMeasurement, counters: dict[str, float], rates: dict[str, float]
    ) -> None:
        for way in ("in", "out"):
            devices = [f"disk.{name}.{way}" for name in self._disks]
            known = [name for name in devices if name in counters]
            if len(self._disks) <= _MAX_DISKS:
                found.totals.update({name: counters[name] / MIB for name in known})
            if known and any(name in rates for name in known):
                found.values[f"disk.{way}Bps"] = sum(rates.get(name, 0.0) for name in known)
        busy = [rates[name] for each in self._disks if (name := f"disk.{each}.busy") in rates]
        if busy:
            found.values["disk.busyPercent"] = min(100.0, max(busy) / 10)

    def _add_network(
        self, found: NodeMeasurement, counters: dict[str, float], rates: dict[str, float]
    ) -> None:
        names = ("network.sent", "network.recv", "network.errors", "network.tcpRetransmits")
        found.totals.update({name: counters[name] for name in names if name in counters})
        for name in ("network.sent", "network.recv", "network.ib.sent", "network.ib.recv"):
            if name in rates:
                found.values[f"{name}Bps"] = rates[name]


class DiskUsage:
    """The usage of local file systems."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._mounts_file = proc / "self" / "mounts"
        self._mounts: dict[str, bool] = {}
        self._read_at = -_MOUNTS_S

    def of(self, folders: Iterable[str], now: float) -> dict[str, float]:
        """Of those that hold these folders, by mount point (`now` is monotonic)."""
        if now >= self._read_at + _MOUNTS_S:
            self._mounts, self._read_at = _local_mounts(read(self._mounts_file)), now
        values: dict[str, float] = {}
        for point in {self._mount_of(folder) for folder in folders}:
            if not self._mounts.get(point):
                continue
            try:
                found = os.statvfs(point)
            except OSError:
                continue
            used = (found.f_blocks - found.f_bfree) * found.f_frsize
            usable = used + found.f_bavail * found.f_frsize
            if usable:
                values[f"disk.{point}.usagePercent"] = 100.0 * used / usable
                values[f"disk.{point}.usageGB"] = used / _GIB
        return values

    def _mount_of(self, folder: str) -> str:
        held_by = [each for each in self._mounts if f"{folder}/".startswith(f"{each.rstrip('/')}/")]
        return max(held_by, key=len, default="")


def _local_mounts(text: str) -> dict[str, bool]:
    """Mount points, and whether each is of a local file system."""
    found = {}
    for line in text.splitlines():
        words = line.split(" ")
        if len(words) > 2:
            found[words[1].replace("\\040", " ")] = words[2] in _LOCAL
    return found


def _cpu_times(text: str) -> Iterator[tuple[str, list[int]]]:
    """user, nice, system, idle, iowait, irq, softirq, steal of all CPUs together and of each."""
    for line in text.splitlines():
        if not line.startswith("cpu"):
            break
        name, *words = line.split()
        yield name, [*(int(word) for word in words[:8]), *([0] * (8 - len(words)))]


def _busy(shares: list[float]) -> float:
    return min(100.0, max(0.0, sum(shares) - shares[3] - shares[4]))


def _tcp_retransmits(text: str) -> float | None:
    lines = [line.split() for line in text.splitlines() if line.startswith("Tcp:")]
    if len(lines) < 2 or "RetransSegs" not in lines[0]:
        return None
    return float(lines[1][lines[0].index("RetransSegs")])
