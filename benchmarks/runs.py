"""`python -m benchmarks.runs`: how long it takes to find a project's runs, over HTTP.

One project grows to 1,000, 10,000 and 100,000 runs with 20 keys of config and 22 of summary each.
Every query is sent once before it is timed, except the first one that loads the columns into memory,
which has a row of its own. Rewriting a run between two queries shows the cost of a live sweep.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import orjson

from benchmarks.machine import describe
from benchmarks.manyruns import PROJECT, fill
from benchmarks.stack import Stack, running
from penstock_storage.connect import open_catalog
from penstock_storage.contracts.interface import RunChange, RunRef

__all__ = ["main"]

Question = dict[str, Any]
Timed = dict[str, list[float]]

_QUESTIONS: dict[str, Question] = {
    "first page": {},
    "page at the end": {"offset": 900},
    "filter on config": {"filter": {"config.lr": {"$gt": 0.01}, "config.optimizer": "adam"}},
    "order by config": {"order": "-config.lr"},
    "order by name": {"order": "name"},
    "filter and order by a logged key": {
        "filter": {"summary.val/loss": {"$lt": 0.5}},
        "order": "summary.val/loss",
        "fields": ["config.lr", "summary.val/loss"],
    },
    "search": {"search": "sweep-99"},
    "pattern": {"filter": {"name": {"$regex": "sweep-[0-9]*77$"}}},
}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", default="1000,10000,100000", help="sizes of the project")
    parser.add_argument("--times", type=int, default=20, help="how often each question is asked")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.runs.split(",")]
    machine, columns = describe(), []
    with running() as stack:
        entity = _Server(stack).ask("viewer")["entity"]
        filled = 0
        for size in sizes:
            asyncio.run(fill(stack, entity, filled, size))
            filled = size
            columns.append(_measure(stack, entity, arguments.times))
    print("\n" + ", ".join(f"{name} {value}" for name, value in machine.items()) + "\n")
    print("| p50 / p95 in ms | " + " | ".join(f"{size:,} runs" for size in sizes) + " |")
    print("|---" * (len(sizes) + 1) + "|")
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(_shown(column[name]) for column in columns) + " |")


def _measure(stack: Stack, entity: str, times: int) -> Timed:
    place = f"projects/{entity}/{PROJECT}"
    server = _Server(stack)

    def search(name: str) -> float:
        return server.time(f"{place}/runs/search", {"limit": 100, **_QUESTIONS[name]})

    taken: Timed = {"first question that needs the columns": [search("filter on config")]}
    for name in _QUESTIONS:
        search(name)
        taken[name] = [search(name) for _ in range(times)]
    taken["fields"] = [server.time(f"{place}/fields") for _ in range(times)]
    after_change = taken["filter on config after a change"] = []
    for n in range(times):
        asyncio.run(_change(stack, entity, n))
        after_change.append(search("filter on config"))
    return taken


async def _change(stack: Stack, entity: str, n: int) -> None:
    catalog = open_catalog(f"sqlite+aiosqlite:///{stack.data / 'catalog.db'}")
    try:
        row = await catalog.run(RunRef(entity, PROJECT, f"run{n:06d}"))
        assert row is not None
        now = time.time_ns() // 1000
        await catalog.apply_changes([RunChange.edit(row.number, "config", {"n": n})], now)
    finally:
        await catalog.close()


class _Server:
    """Queries over one keep-alive connection."""

    def __init__(self, stack: Stack) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(stack.url).netloc)

    def ask(self, path: str, question: Question | None = None) -> Any:
        if question is None:
            self._connection.request("GET", f"/v1/{path}")
        else:
            self._connection.request("POST", f"/v1/{path}", orjson.dumps(question))
        reply = self._connection.getresponse()
        assert reply.status == 200, reply.reason
        return orjson.loads(reply.read())

    def time(self, path: str, question: Question | None = None) -> float:
        """Milliseconds until the response."""
        began = time.perf_counter()
        self.ask(path, question)
        return (time.perf_counter() - began) * 1e3


def _shown(taken: Sequence[float]) -> str:
    if len(taken) == 1:
        return f"{taken[0]:,.0f}"
    return f"{np.percentile(taken, 50):,.1f} / {np.percentile(taken, 95):,.1f}"


if __name__ == "__main__":
    main()
