"""What is read of the machine, its control groups and its processes: from files as Linux writes them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from penstock.system.cgroups import Cgroups, CgroupUse
from penstock.system.files import number, read
from penstock.system.measured import NodeMeasurement, Rates
from penstock.system.node import DiskUsage, LinuxNode
from penstock.system.portable import PortableNode
from penstock.system.processes import ProcessTrees, TreeUse
from penstock.system.rows import Baseline, gpu_values, limited, memory_values, tree_values

MIB = 1 << 20


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def disk(name: str, read_sectors: int, written_sectors: int, busy_ms: int) -> str:
    return (
        f"   8  0 {name} 9 0 {read_sectors} 1 9 0 {written_sectors} 1 0 {busy_ms} 2 0 0 0 0 0 0\n"
    )


def network(name: str, recv: int, sent: int, drops: int = 0) -> str:
    return f"{name:>6}: {recv} 5 0 {drops} 0 0 0 0 {sent} 5 0 0 0 0 0 0\n"


NETWORK_HEAD = "Inter-| Receive | Transmit\n face |bytes packets\n"


def machine(folder: Path, turn: int) -> None:
    """At turn 1 two seconds have passed since turn 0."""
    cpu = [(100, 0, 50, 800, 40, 0, 0, 10), (250, 0, 100, 1_050, 80, 0, 0, 20)][turn]
    core0 = [(50, 0, 25, 400, 20, 0, 0, 5), (200, 0, 75, 400, 20, 0, 0, 5)][turn]
    write(
        folder / "proc",
        {
            "stat": f"cpu  {' '.join(map(str, cpu))} 0 0\ncpu0 {' '.join(map(str, core0))} 0 0\n"
            "intr 1 2 3\n",
            "loadavg": "1.50 0.9 0.5 2/300 1\n",
            "meminfo": "MemTotal: 16384 kB\nMemFree: 1 kB\nMemAvailable: 4096 kB\n"
            "SwapTotal: 1000 kB\nSwapFree: 750 kB\n",
            "diskstats": disk("nvme0n1", 2_048 * (1 + turn), 4_096 * turn, 1_000 * turn)
            + disk("nvme0n1p1", 999, 999, 9) + disk("loop0", 5, 5, 5),
            "net/dev": NETWORK_HEAD + network("lo", 10**9 * turn, 10**9 * turn)
            + network("eth0", 1_000 + 4_000 * turn, 500 + 8_000 * turn, drops=turn)
            + network("eth1", 7_000 * turn, 0) + network("veth12ab", 9_000 * turn, 9_000 * turn),
            "net/snmp": f"Tcp: RtoAlgorithm RetransSegs\nTcp: 1 {40 + 3 * turn}\n",
        },
    )  # fmt: skip
    ib = folder / "sys/class/infiniband/mlx5_0/ports/1/counters"
    write(ib, {"port_xmit_data": f"{5_000 * turn}\n", "port_rcv_data": f"{100 * turn}\n"})


def test_a_machine(tmp_path: Path) -> None:
    write(
        tmp_path / "sys",
        {
            "block/nvme0n1/size": "", "block/loop0/size": "", "class/net/lo/mtu": "",
            "class/net/eth0/mtu": "", "class/net/eth1/master": "", "class/net/veth12ab/mtu": "",
        },
    )  # fmt: skip
    machine(tmp_path, 0)
    node = LinuxNode(tmp_path / "proc", tmp_path / "sys")
    first = node.measure(100.0)
    assert not [key for key in first.values if key.endswith("Bps")]
    machine(tmp_path, 1)
    second = node.measure(102.0)
    assert second.values == {
        "node.cpu": pytest.approx(100 * 210 / 500), "node.cpu.iowait": 8.0, "node.cpu.steal": 2.0,
        "node.cpu.max": 100.0, "node.load1": 1.5, "swap.used_percent": 25.0,
        "disk.inBps": 2_048 * 512 / 2, "disk.outBps": 4_096 * 512 / 2, "disk.busyPercent": 50.0,
        "network.sentBps": 4_000.0, "network.recvBps": 2_000.0,
        "network.ib.sentBps": 10_000.0, "network.ib.recvBps": 200.0,
    }  # fmt: skip
    assert (second.memory_bytes, second.available_bytes) == (16 * MIB, 4 * MIB)
    baseline = Baseline()
    assert set(baseline.since_first(first.totals).values()) == {0.0}
    assert baseline.since_first(second.totals) == {
        "disk.nvme0n1.in": 1.0, "disk.nvme0n1.out": 2.0, "network.sent": 8_000.0,
        "network.recv": 4_000.0, "network.errors": 1.0, "network.tcpRetransmits": 3.0,
    }  # fmt: skip


def test_an_empty_machine(tmp_path: Path) -> None:
    """Not one of the files is there, as in some sandboxes."""
    found = LinuxNode(tmp_path / "proc", tmp_path / "sys").measure(1.0)
    assert found.values == {}
    assert found.memory_bytes == 0.0


def test_this_machine() -> None:
    node = LinuxNode()
    node.measure(time.monotonic())
    time.sleep(0.1)
    found = node.measure(time.monotonic())
    assert 0 <= found.values["node.cpu"] <= found.values["node.cpu.max"] <= 100
    assert 0 < found.available_bytes < found.memory_bytes


def test_a_machine_without_proc() -> None:
    """Through psutil, which says the same of this one."""
    node = PortableNode()
    node.measure(1.0)
    found, linux = node.measure(2.0), LinuxNode().measure(2.0)
    assert found.memory_bytes == linux.memory_bytes
    assert {
        "node.cpu",
        "node.load1",
        "network.sentBps",
        "disk./.usagePercent",
    } <= found.values.keys()
    known = {"disk.in", "disk.out", "disk./.usageGB", "disk./.usagePercent"}
    rates = {"node.cpu", "node.cpu.max", "network.sentBps", "network.recvBps"}
    assert {*found.values, *found.totals} <= {*linux.values, *linux.totals, *known, *rates}


def test_disk_usage(tmp_path: Path) -> None:
    mounts = (
        "/dev/vda / ext4 rw 0 0\n"
        f"tmpfs {tmp_path} tmpfs rw 0 0\n"
        f"server:/x {tmp_path}/nfs nfs4 rw 0 0\n"
    )
    write(tmp_path, {"proc/self/mounts": mounts})
    folders = ["/", "/no/such/folder", str(tmp_path / "nfs" / "data"), str(tmp_path)]
    found = DiskUsage(tmp_path / "proc").of(folders, 5.0)
    # A file server that is gone would not answer: it is not asked.
    assert {key.rpartition(".")[0] for key in found} == {"disk./", f"disk.{tmp_path}"}
    assert 0 < found["disk./.usagePercent"] <= 100


# ---- control groups

SECOND = "29 1 0:26 {root} {point} rw - cgroup2 cgroup2 rw\n"


def second_version(folder: Path, pid: int, path: str, root: str = "/") -> Path:
    """Returns where the hierarchy is mounted."""
    point = folder / "cgroup"
    write(
        folder / "proc",
        {
            f"{pid}/cgroup": f"0::{path}\n",
            "self/mountinfo": SECOND.format(root=root, point=point),
        },
    )
    point.mkdir(exist_ok=True)
    return point


def test_limits_of_version_2(tmp_path: Path) -> None:
    """The tightest limit of all levels counts, with what is used at that level."""
    point = second_version(tmp_path, 7, "/slurm/job_1/task_0")
    write(
        point,
        {
            "slurm/job_1/cpu.max": "400000 100000\n",
            "slurm/job_1/cpu.stat": "usage_usec 5\nnr_periods 100\nnr_throttled 25\n",
            "slurm/job_1/memory.max": f"{8 << 30}\n",
            "slurm/job_1/memory.current": f"{6 << 30}\n",
            "slurm/job_1/memory.stat": f"anon 1\ninactive_file {1 << 30}\n",
            "slurm/job_1/task_0/cpu.max": "max 100000\n",
            "slurm/job_1/task_0/memory.max": "max\n",
            "slurm/job_1/task_0/memory.events": "low 0\noom 1\noom_kill 2\n",
            "slurm/cpu.max": "800000 100000\n",
            "slurm/cpu.stat": "nr_periods 1\nnr_throttled 1\n",
            "slurm/memory.max": f"{64 << 30}\n",
            "slurm/memory.current": f"{9 << 30}\n",
        },
    )
    assert Cgroups(tmp_path / "proc").use_of(7) == CgroupUse(
        4.0, 8 << 30, 5 << 30, 100.0, 25.0, 2.0
    )


@pytest.mark.parametrize("path", ["/", "/../../kubepods/pod1/c1"])
def test_a_container_of_version_2(tmp_path: Path, path: str) -> None:
    """It sees its own group as the root, or a path that leads outside."""
    point = second_version(tmp_path, 7, path)
    write(point, {"cpu.max": "50000 100000\n", "memory.max": "1024\n", "memory.current": "512\n"})
    found = Cgroups(tmp_path / "proc").use_of(7)
    assert (found.cpus, found.memory_bytes, found.memory_used_bytes) == (0.5, 1024.0, 512.0)


def test_limits_of_version_1(tmp_path: Path) -> None:
    """As Docker mounts them: the container's group is the root of the mount."""
    write(
        tmp_path / "proc",
        {
            "7/cgroup": "4:memory:/docker/ab\n2:cpu,cpuacct:/docker/ab\n0::/\n",
            "self/mountinfo": f"31 1 0:27 /docker/ab {tmp_path}/memory rw - cgroup cgroup rw,memory\n"
            f"32 1 0:28 /docker/ab {tmp_path}/cpu rw - cgroup cgroup rw,cpu,cpuacct\n",
        },
    )
    write(
        tmp_path,
        {
            "cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n",
            "cpu/cpu.stat": "nr_periods 10\nnr_throttled 4\nthrottled_time 9\n",
            "memory/memory.limit_in_bytes": "4096\n", "memory/memory.usage_in_bytes": "3072\n",
            "memory/memory.stat": "cache 9\ntotal_inactive_file 1024\n",
            "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
        },
    )  # fmt: skip
    found = Cgroups(tmp_path / "proc").use_of(7)
    assert found == CgroupUse(1.5, 4096.0, 2048.0, 10.0, 4.0, 3.0)


def test_no_limits_and_no_groups(tmp_path: Path) -> None:
    write(
        tmp_path / "proc",
        {
            "7/cgroup": "4:memory:/\n2:cpu:/\n",
            "self/mountinfo": f"31 1 0:27 / {tmp_path}/memory rw - cgroup cgroup rw,memory\n"
            f"32 1 0:28 / {tmp_path}/cpu rw - cgroup cgroup rw,cpu\n",
        },
    )
    unlimited = f"{0x7FFFFFFFFFFFF000}\n"
    write(
        tmp_path,
        {"cpu/cpu.cfs_quota_us": "-1\n", "memory/memory.limit_in_bytes": unlimited},
    )
    assert Cgroups(tmp_path / "proc").use_of(7) == CgroupUse()
    assert Cgroups(tmp_path / "none").use_of(7) == CgroupUse()
    Cgroups().use_of(os.getpid())  # this machine's, whatever they are


def test_memory_is_of_the_limit() -> None:
    node = NodeMeasurement(memory_bytes=100.0 * MIB, available_bytes=60.0 * MIB)
    host = memory_values(limited(node, CgroupUse()), 10.0 * MIB)
    assert host == {
        "memory_percent": pytest.approx(40.0), "proc.memory.percent": 10.0,
        "proc.memory.availableMB": 60.0,
    }  # fmt: skip
    use = CgroupUse(memory_bytes=40.0 * MIB, memory_used_bytes=30.0 * MIB)
    assert memory_values(limited(node, use), 10.0 * MIB) == {
        "memory_percent": 75.0, "proc.memory.percent": 25.0, "proc.memory.availableMB": 10.0,
    }  # fmt: skip
    # The host has less left than the group may still take.
    full = NodeMeasurement(memory_bytes=100.0 * MIB, available_bytes=2.0 * MIB)
    assert memory_values(limited(full, use), 0.0)["proc.memory.availableMB"] == 2.0


# ---- processes


def test_a_tree_of_processes() -> None:
    """A process with a child that works, and one that had worked."""
    code = (
        "import subprocess, sys, threading, time\n"
        "subprocess.run([sys.executable, '-c', 'import time\\nwhile time.process_time() < 0.3: pass'])\n"
        "open('/dev/null'); kept = open('/dev/zero')\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'], stdin=subprocess.PIPE)\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    trees = ProcessTrees()
    trees.look()
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        trees.look()
        use = trees.use_of(process.pid)
        assert len(use.pids) == 2
        assert use.threads == 3
        assert use.files >= 8
        assert use.rss_mb > 10
        assert use.cpu_s >= 0.3
        pss_mb = trees.pss_mb(use, 100.0, 0.0)
        assert pss_mb is not None
        assert 0 < pss_mb <= use.rss_mb
        assert trees.pss_mb(use, 101.0, 0.0) is None
    finally:
        process.communicate(b"")
    trees.look()
    assert trees.use_of(process.pid) == TreeUse()


def test_a_process_may_be_called_anything(tmp_path: Path) -> None:
    stat = "12 (a) b) (c) S 1 0 0 0 0 0 0 0 0 0 100 50 0 0 20 0 4 0 9 1000 25 0\n"
    write(tmp_path, {"12/stat": stat, "self/stat": "x"})
    trees = ProcessTrees(tmp_path)
    trees.look()
    use = trees.use_of(12)
    assert (use.threads, use.pids) == (4, [12])
    assert use.rss_bytes == 25 * os.sysconf("SC_PAGE_SIZE")


def test_cpu_is_of_the_limit() -> None:
    baseline = Baseline()
    use = CgroupUse(cpus=2.0, periods=100.0, throttled=10.0, oom_kills=5.0)
    trees = {3: TreeUse(cpu_s=10.0, pids=[1]), 5: TreeUse(cpu_s=20.0, pids=[2])}
    first = tree_values(trees, use, 8.0, baseline, 100.0)
    assert "cpu" not in first
    trees = {3: TreeUse(cpu_s=11.0, pids=[1]), 5: TreeUse(cpu_s=20.5, pids=[2, 9], threads=7)}
    use = CgroupUse(cpus=2.0, periods=200.0, throttled=60.0, oom_kills=6.0)
    found = tree_values(trees, use, 8.0, baseline, 101.0)
    assert found["cpu"] == pytest.approx(75.0)
    assert found["cpu.limit"] == 2.0
    assert found["proc.cpu.throttledPercent"] == pytest.approx(50.0)
    assert found["proc.memory.oomKills"] == 1.0
    assert (found["proc.count"], found["proc.cpu.threads"]) == (3.0, 7.0)
    assert (found["rank.3.cores"], found["rank.5.cores"]) == (1.0, 0.5)
    # Affinity is a limit too, and one rank has no keys of its own.
    alone = tree_values({0: TreeUse(pids=[1])}, CgroupUse(), 1.0, Baseline(), 1.0)
    assert alone["cpu.limit"] == 1.0
    assert not [key for key in alone if key.startswith("rank.")]
    assert tree_values({0: TreeUse()}, use, 1.0, Baseline(), 1.0) == {}


def test_gpus_of_a_run() -> None:
    gpus = [
        {"gpu": 90.0, "temp": 60.0, "pids": {"5": 100, "6": 50, "9": 1}},
        {"gpu": 1.0, "pids": {}},
    ]
    assert gpu_values(gpus, {5, 6}) == {
        "gpu.0.gpu": 90.0, "gpu.0.temp": 60.0, "gpu.1.gpu": 1.0,
        "gpu.process.0.gpu": 90.0, "gpu.process.0.temp": 60.0, "gpu.process.0.memoryUsedBytes": 150.0,
    }  # fmt: skip


def test_rates_need_two_looks_and_rising_counters() -> None:
    rates = Rates()
    assert rates.of({"a": 5.0}, 10.0) == {}
    assert rates.of({"a": 9.0, "b": 1.0}, 12.0) == {"a": 2.0}
    assert rates.of({"a": 1.0, "b": 3.0}, 13.0) == {"b": 2.0}
    assert rates.of({"a": 2.0, "b": 4.0}, 13.0) == {}


def test_a_counter_that_begins_again() -> None:
    baseline = Baseline()
    assert baseline.since_first({"a": 50.0}) == {"a": 0.0}
    assert baseline.since_first({"a": 20.0}) == {"a": 20.0}
    assert baseline.since_first({"a": 30.0}) == {"a": 30.0}


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    write(tmp_path, {"max": "max\n", "empty": "", "number": "12 34\n"})
    assert [read(tmp_path / name) for name in ("missing", "pipe", "")] == ["", "", ""]
    assert [number(tmp_path / name) for name in ("max", "empty", "number")] == [None, None, 12.0]
