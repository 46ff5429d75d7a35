"""One word, one meaning: class names, prefixes of settings and names of bounds, read off the sources."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import defaultdict
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from penstock_common.process.settings import GatewaySettings, ServerSettings, WorkerSettings

ROOT = Path(__file__).parents[2]
SERVER = (
    "common", "storage", "ingest", "sweeps", "workers", "web/penstock_web", "compat", "server",
)  # fmt: skip
PREFIXES = {
    "backlog": "the queue's memory above which batches are refused",
    "batch": "one batch in a worker",
    "blobs": "the blob store",
    "bodies": "request bodies, all together",
    "body": "one request body",
    "catalog": "the catalog",
    "commit": "a worker's commit",
    "connections": "a gateway's open connections",
    "decoded": "decoded batches, all together",
    "default": "what is made at the first start",
    "disk": "free space on disks",
    "drain": "the time that a process has to finish its work at shutdown",
    "header": "the head of a request",
    "host": "the address to listen on",
    "keys": "metric names: bounds of projects and runs",
    "lease": "a worker's lease of a shard",
    "log": "logging",
    "max": "tries before a batch becomes a dead letter",
    "metrics": "Prometheus metrics",
    "patience": "the watchdog",
    "poll": "reading empty streams",
    "port": "the port to listen on",
    "pre": "the time before shutdown in which a process is not ready",
    "prefix": "Redis keys",
    "project": "the quota of a project",
    "purge": "removing the rows of deleted runs",
    "queue": "appending to Redis",
    "redis": "Redis",
    "require": "access to the page",
    "root": "the path prefix behind a proxy",
    "runs": "bounds of entities and projects",
    "secret": "the installation's secret",
    "serves": "the side that a gateway serves",
    "silent": "runs without a sign of life",
    "store": "the point store",
    "sweep": "hyperparameter sweeps",
    "trusted": "proxies",
    "upload": "uploaded files",
    "volatile": "a Redis that may lose data",
    "worker": "one worker process",
    "writers": "bounds of entities and runs",
}
"""The first word of each setting, and the one thing that it is about."""

_OTHER_BOUNDS = re.compile(
    r"_?(MOST|LEAST|LONGEST|SHORTEST|FEWEST|SLOWEST|DEEPEST|OLDEST|LARGEST|BIGGEST)(_[A-Z]+)*"
)


@cache
def modules(*folders: str) -> list[tuple[str, ast.Module]]:
    listed = subprocess.run(
        ["git", "ls-files", *(f"{folder}/*.py" for folder in folders)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [(name, ast.parse((ROOT / name).read_text())) for name in listed.stdout.splitlines()]


def test_no_two_classes_of_the_servers_share_a_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for name, module in modules(*SERVER):
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(name)
    assert not {name: found for name, found in places.items() if len(found) > 1}


def test_each_prefix_of_a_setting_has_one_meaning() -> None:
    kinds = (ServerSettings, GatewaySettings, WorkerSettings)
    used = {each.name.split("_")[0] for kind in kinds for each in fields(kind)}
    assert used == set(PREFIXES)
    # A sweep is a hyperparameter search and nothing else.
    assert not any("sweep" in each.name for each in fields(WorkerSettings))


@pytest.mark.parametrize("folder", ["common", "storage", "ingest", "workers"])
def test_bounds_begin_with_max_or_min(folder: str) -> None:
    wrong = [
        f"{name}: {node.id}"
        for name, module in modules(folder)
        for node in ast.walk(module)
        if isinstance(node, ast.Name) and _OTHER_BOUNDS.fullmatch(node.id)
    ]
    assert not wrong
