"""P12: file stream posts as official wandb clients send them at full speed, until they are stored.

The posts are generated before the clock starts, in the client's own format: about 10 MiB of lines each,
the keys of a line in any order, one post in flight per run. Stored numbers are compared with the sent
ones, one by one. The gateway's loop is watched by its own metric.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import numpy as np

from benchmarks.report import Row
from benchmarks.stack import Stack, running
from penstock_storage.connect import open_points

__all__ = ["rows"]

_TARGET = 1e6
_MOST_STALL_S = 0.05
_POST_BYTES = 10 * 2**20
_PROJECT = "wandb-bench"


@dataclass(frozen=True, slots=True)
class _Plan:
    """`runs` send `posts` each, of lines with `keys` keys."""

    runs: int
    posts: int
    keys: int


_PLANS = (_Plan(4, 6, 1), _Plan(4, 6, 100), _Plan(8, 6, 10))


def rows(seconds: float) -> Iterator[Row]:
    """P12 for lines of three widths; the target is judged at 10 keys."""
    for plan in _PLANS:
        with tempfile.TemporaryDirectory(prefix="penstock-posts-") as folder, running() as stack:
            posts, values = _make_posts(Path(folder), plan)
            took_s = _send(stack, posts)
            stored = _stored(stack, plan, values)
            stall_s = _stall(stack)
        points = plan.runs * plan.posts * values.size
        if stored != plan.runs * plan.posts:
            raise RuntimeError(
                f"only {stored} of {plan.runs * plan.posts} posts are stored as sent"
            )
        is_judged = plan.keys == 10
        rate = points / took_s
        yield Row(
            "P12",
            f"wandb clients' posts of 10 MiB, {plan.keys} keys per line, {plan.runs} runs at once,"
            f" {points:,} points, all stored as sent",
            f"{rate / 1e6:.2f} M points/s, longest stall < {stall_s * 1e3:.0f} ms",
            "≥ 1 M points/s, stalls ≤ 50 ms" if is_judged else "",
            "",
            rate >= _TARGET and stall_s <= _MOST_STALL_S if is_judged else None,
        )


def _make_posts(folder: Path, plan: _Plan) -> tuple[list[list[Path]], np.ndarray]:
    """(the posts of each run as files, the values of one post's lines by line and key)."""
    rng = random.Random(12)
    keys = _keys(plan)
    order = [keys[:] for _ in range(64)]
    for each in order:
        rng.shuffle(each)
    line_bytes = len(json.dumps(dict.fromkeys(keys, 0.123456789012345))) + 70
    lines = _POST_BYTES // line_bytes
    values = np.random.default_rng(12).random((lines, plan.keys))
    bodies = []
    for at in range(lines):
        row = dict(zip(keys, values[at].tolist(), strict=True))
        bodies.append(json.dumps({key: row[key] for key in order[at % 64]})[1:])
    posts: list[list[Path]] = []
    for run in range(plan.runs):
        posts.append([])
        for number in range(plan.posts):
            first = number * lines
            content = [
                f'{{"_step":{first + at},"_timestamp":{1.7954e9 + (first + at) / 100!r},'
                f'"_runtime":{(first + at) / 100!r},{body}'
                for at, body in enumerate(bodies)
            ]
            path = folder / f"{run}-{number}.json"
            path.write_text(
                json.dumps(
                    {"files": {"wandb-history.jsonl": {"offset": first, "content": content}}}
                )
            )
            posts[-1].append(path)
    return posts, values


def _keys(plan: _Plan) -> list[str]:
    return [f"train/metric_{at:03d}" for at in range(plan.keys)]


def _send(stack: Stack, posts: list[list[Path]]) -> float:
    """Seconds until every post of every run was answered with 200."""
    failed: list[str] = []
    threads = [
        threading.Thread(target=_send_run, args=(stack, run, paths, failed))
        for run, paths in enumerate(posts)
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise RuntimeError(f"posts were refused: {failed[:3]}")
    return time.perf_counter() - started


def _send_run(stack: Stack, run: int, paths: list[Path], failed: list[str]) -> None:
    where = urlsplit(stack.url)
    key = base64.b64encode(f"api:{stack.api_key}".encode()).decode()
    headers = {"Authorization": f"Basic {key}", "Content-Type": "application/json"}
    address = f"/files/local/{_PROJECT}/run{run}/file_stream"
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=180)
    for path in paths:
        connection.request("POST", address, path.read_bytes(), headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            failed.append(f"{answer.status} {text[:200]!r}")
            return


def _stored(stack: Stack, plan: _Plan, values: np.ndarray) -> int:
    """The number of posts that are in the store, every value as it was sent."""
    return asyncio.run(_compare(stack, plan, values))


async def _compare(stack: Stack, plan: _Plan, values: np.ndarray) -> int:
    store = open_points(stack.store_url, stack.store_token)
    good = 0
    try:
        names = await store.query("SELECT id, kind, name FROM penstock.names FINAL")
        numbers = dict(
            zip(zip(names["kind"], names["name"], strict=True), names["id"], strict=True)
        )
        keys = {int(numbers["key", key]): at for at, key in enumerate(_keys(plan))}
        for run in range(plan.runs):
            for post in range(plan.posts):
                first = post * len(values)
                found = await store.query(
                    "SELECT key, step, v FROM penstock.points FINAL WHERE run = {r:UInt32}"
                    " AND key IN {k:Array(UInt32)} AND step >= {a:Int64} AND step < {b:Int64}",
                    {"r": int(numbers["run", f"run{run}"]), "k": list(keys),
                     "a": first, "b": first + len(values)},
                )  # fmt: skip
                stored = np.full(values.shape, np.nan)
                columns = np.array([keys[int(key)] for key in np.asarray(found["key"])])
                stored[np.asarray(found["step"]) - first, columns] = np.asarray(found["v"])
                is_whole = len(columns) == values.size and np.array_equal(stored, values)
                good += bool(is_whole)
    finally:
        await store.close()
    return good


def _stall(stack: Stack) -> float:
    """The bound of the gateway's own histogram under which every delay of its loop lies (s)."""
    text = urlopen(f"{stack.url}/metrics", timeout=10).read().decode()  # noqa: S310  (our own address)
    counts: dict[float, float] = {}
    for line in text.splitlines():
        if "loop_lag" in line and "_bucket{" in line:
            bound = line.split('le="')[1].split('"')[0]
            counts[float(bound)] = counts.get(float(bound), 0) + float(line.rsplit(" ", 1)[1])
    total = max(counts.values())
    return min(bound for bound, count in counts.items() if count >= total)
