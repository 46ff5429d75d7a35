"""What logging costs a training process: log(), CPU per point, memory, import, init, finish.

    python benchmarks/client_log.py [--quick] [--only log,cpu] [--json FILE]

A server that only accepts, the shipper and the training process share this machine. Every figure of
log() alternates with its floor, a dict copy appended to a list, in one loop, so that the
ratio means something on a noisy machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns
from typing import Any

ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="log,paced,cpu,start,memory,shipper")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    scale = 10 if options.quick else 1
    root = Path(tempfile.mkdtemp(prefix="penstock-bench-", dir="/var/tmp"))
    port = multiprocessing.Value("i", 0)
    server = multiprocessing.get_context("fork").Process(target=accept, args=(port,), daemon=True)
    server.start()
    while not port.value:
        time.sleep(0.01)
    os.environ |= {
        "PENSTOCK_BASE_URL": f"http://127.0.0.1:{port.value}",
        "PENSTOCK_API_KEY": "benchmark",
        "PENSTOCK_DIR": str(root),
        "PENSTOCK_SILENT": "1",
        "PENSTOCK_SPOOL_LIMIT_BYTES": str(8 << 30),
        "XDG_CONFIG_HOME": str(root),
    }
    try:
        parts = {
            "log": measure_log,
            "paced": measure_paced,
            "cpu": measure_cpu,
            "start": measure_start,
            "memory": measure_memory,
            "shipper": measure_shipper,
        }
        results = [result for part in options.only.split(",") for result in parts[part](scale)]
    finally:
        lock = root / "shipper.lock"
        if lock.exists() and lock.read_text():
            os.kill(int(lock.read_text().split()[0]), 15)
        server.terminate()
        shutil.rmtree(root, ignore_errors=True)
    cpus = os.cpu_count()
    print(f"{sys.version.split()[0]}, {cpus} CPUs, load {os.getloadavg()[0]:.1f}\n")
    for result in results:
        print("  ".join(f"{name}={value}" for name, value in result.items()))
    if options.json:
        options.json.write_text(json.dumps({"cpus": cpus, "results": results}, indent=1))


def rows_of(keys: int, count: int = 64) -> list[dict[str, float]]:
    names = [f"train/metric_{i}" for i in range(keys)]
    return [{name: random.random() for name in names} for _ in range(count)]


def percentiles(times_ns: list[int]) -> tuple[float, float]:
    ordered = sorted(times_ns)
    return ordered[len(ordered) // 2] / 1e3, ordered[len(ordered) * 99 // 100] / 1e3


def measure_log(scale: int) -> list[dict[str, Any]]:
    """P1, in a tight loop."""
    import penstock

    results = []
    for keys, calls in ((1, 40_000), (10, 40_000), (100, 10_000), (1_000, 2_000)):
        run = penstock.init(project="bench", reinit=True)
        copies: list[dict[str, float]] = []
        results.append(compared(f"log {keys}", run.log, copies, rows_of(keys), calls // scale))
        run.finish()
    return results


def compared(
    name: str,
    log: Callable[[dict[str, float]], None],
    copies: list[dict[str, float]],
    rows: list[dict[str, float]],
    calls: int,
    pause_s: float = 0.0,
) -> dict[str, Any]:
    def floor(row: dict[str, float]) -> None:
        copies.append(dict(row))

    figures: dict[str, list[tuple[float, float]]] = {"floor": [], "log": []}
    for _ in range(ROUNDS):
        for kind, call in (("floor", floor), ("log", log)):
            copies.clear()
            figures[kind].append(percentiles(timed(call, rows, calls, pause_s)))
    p50, p99 = (statistics.median(f[i] for f in figures["log"]) for i in (0, 1))
    floor50, floor99 = (statistics.median(f[i] for f in figures["floor"]) for i in (0, 1))
    spread = [f[0] for f in figures["log"]]
    return {
        "what": name,
        "p50_us": round(p50, 2),
        "p99_us": round(p99, 2),
        "floor_p50_us": round(floor50, 2),
        "floor_p99_us": round(floor99, 2),
        "ratio_p50": round(p50 / floor50, 1),
        "ratio_p99": round(p99 / floor99, 1),
        "p50_range_us": f"{min(spread):.2f}..{max(spread):.2f}",
    }


def timed(
    call: Callable[[dict[str, float]], None],
    rows: list[dict[str, float]],
    calls: int,
    pause_s: float,
) -> list[int]:
    times = []
    for i in range(calls):
        row = rows[i & 63]
        begun = perf_counter_ns()
        call(row)
        times.append(perf_counter_ns() - begun)
        if pause_s:
            time.sleep(pause_s)
    return times


def measure_paced(scale: int) -> list[dict[str, Any]]:
    """P1, at 100 calls per second."""
    import penstock

    results = []
    for keys in (10, 1_000):
        run = penstock.init(project="bench", reinit=True)
        copies: list[dict[str, float]] = []
        rows = rows_of(keys)
        results.append(
            compared(f"log {keys} at 100/s", run.log, copies, rows, 300 // scale, pause_s=0.01)
        )
        run.finish()
    return results


def measure_cpu(scale: int) -> list[dict[str, Any]]:
    """P2: all threads of this process, 100 keys."""
    import penstock

    run = penstock.init(project="bench", reinit=True)
    rows, calls = rows_of(100), 50_000 // scale
    log, begun = run.log, time.process_time()
    for i in range(calls):
        log(rows[i & 63])
    used_s = time.process_time() - begun
    run.finish()
    return [{"what": "cpu, 100 keys", "us_per_point": round(used_s / (calls * 100) * 1e6, 4)}]


_SCRIPT = """
import time
begun = time.perf_counter(); import penstock
imported = time.perf_counter(); run = penstock.init(project="bench")
ready = time.perf_counter()
for step in range(1000): run.log({"loss": 1.0 / (step + 1), "acc": 0.5})
logged = time.perf_counter(); run.finish()
print((imported - begun) * 1e3, (ready - imported) * 1e3, (time.perf_counter() - logged) * 1e3)
"""


def measure_start(scale: int) -> list[dict[str, Any]]:
    """P11: import, init and finish, each in separate processes."""
    times = []
    for _ in range(max(3, 10 // scale)):
        run = subprocess.run(
            [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True
        )
        times.append([float(text) for text in run.stdout.split()])
    columns = zip(*times, strict=True)
    return [
        {
            "what": what,
            "median_ms": round(statistics.median(column), 1),
            "worst_ms": round(max(column), 1),
        }
        for what, column in zip(("import", "init", "finish"), columns, strict=True)
    ]


def measure_memory(scale: int) -> list[dict[str, Any]]:
    """P10: memory that the client adds to a bare Python, after a million points."""
    code = "import psutil\n{}full = psutil.Process().memory_full_info()\nprint(full.rss, full.uss)"
    use = (
        "import penstock\n"
        "run = penstock.init(project='bench')\n"
        "row = {f'k{i}': float(i) for i in range(100)}\n"
        "for _ in range(10_000): run.log(row)\n"
    )
    sizes = []
    for body in ("", use):
        run = subprocess.run(
            [sys.executable, "-c", code.format(body)], capture_output=True, text=True, check=True
        )
        sizes.append([int(text.split()[0]) / 2**20 for text in run.stdout.split()[:2]])
    (rss, uss), (used_rss, used_uss) = sizes
    return [
        {
            "what": "memory above bare Python",
            "rss_mib": round(used_rss - rss, 1),
            "uss_mib": round(used_uss - uss, 1),
        }
    ]


def measure_shipper(scale: int) -> list[dict[str, Any]]:
    """How fast a spool is turned into batches: rows to columns, encoded."""
    import penstock
    from penstock.shipper.columns import BatchLimits
    from penstock.shipper.gather import gather
    from penstock.shipper.reader import SpoolReader
    from penstock.wire import Batch, encode_batch

    figures: dict[str, Any] = {"what": "shipper, rows to batches"}
    for keys, calls in ((10, 100_000), (100, 20_000), (1_000, 2_000)):
        run = penstock.init(project="bench", mode="offline", reinit=True)
        rows = rows_of(keys)
        for i in range(calls // scale):
            run.log(rows[i & 63])
        reader = SpoolReader(run._writer.spool().folder)
        position, begun, points = reader.first(), time.perf_counter(), 0
        while True:
            found = gather(reader, position, BatchLimits())
            if found.columns.empty:
                break
            frames, records = found.columns.batch()
            encode_batch(Batch("p", "r", "w", 1, frames=frames, records=records))
            position, points = found.end, points + found.columns.points
        figures[f"{keys}_keys_mpoints_s"] = round(points / (time.perf_counter() - begun) / 1e6, 1)
        reader.close()
        run.finish()
    return [figures]


def accept(port: Any) -> None:
    """A server that accepts every batch and reports it as stored at once."""
    asyncio.run(_serve(port))


async def _serve(port: Any) -> None:
    server = await asyncio.start_server(_connection, "127.0.0.1", 0, limit=1 << 20)
    port.value = server.sockets[0].getsockname()[1]
    await server.serve_forever()


async def _connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    from penstock import wire

    committed = 0
    while not reader.at_eof():
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            break
        sizes = [
            line[15:] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        ]
        if sizes:
            body = await reader.readexactly(int(sizes[0]))
            if wire.CONTENT_TYPE.encode() in head:  # else a report, as JSON
                committed = wire.decode_batch(wire.split_body(body)[-1]).seq
        text = json.dumps(
            {
                "queued": committed,
                "committed": committed,
                "queue": "q",
                "store": "s",
                "interval_s": 0.3,
            }
        ).encode()
        status = b"202 Accepted" if sizes else b"200 OK"
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(text), text))
        await writer.drain()
    writer.close()


if __name__ == "__main__":
    main()
