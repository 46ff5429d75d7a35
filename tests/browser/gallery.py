"""Runs with media, console lines and files, for tests of the page."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
from support.media import png, store_file
from support.up import Up, wait_until

from penstock.wire import CONTENT_TYPE, Batch, encode_batch, join_batches
from penstock_storage.blobs.blob_store import open_blobs
from penstock_storage.catalog.runs.run_files import RunFiles
from penstock_storage.connect import open_catalog
from penstock_storage.contracts.interface import RunRef

__all__ = ["PAGE", "RUNS", "fill_gallery", "send_records"]

RUNS = ("one", "two")
STEPS = (0, 5, 10)
LINES = 3_000
PAGE = "<b>A page</b><script>document.body.textContent = 'taken over'</script>"


def send_records(up: Up, run: str, seq: int, records: list[dict[str, Any]]) -> None:
    """Sends one batch of a run."""
    batch = Batch("gallery", run, "writer", seq, writer_started=1, records=records)
    request = Request(f"{up.url}/v1/batches", join_batches([encode_batch(batch)]), method="POST")
    request.add_header("Content-Type", CONTENT_TYPE)
    request.add_header("Authorization", f"Bearer {up.api_key}")
    with urlopen(request, timeout=10) as reply:
        assert reply.status == 202


def fill_gallery(up: Up) -> None:
    """Two runs in the project `gallery` with files; the second is still running."""
    for run in RUNS:
        up.post("/v1/runs", {"project": "gallery", "run": run, "name": f"run {run}"})
        send_records(up, run, 1, [*_values(run), *_lines()])
    wait_until(lambda: up.get("/v1/projects/local/gallery/media")["keys"], 30)
    wait_until(lambda: up.get("/v1/runs/local/gallery/two/console")["total"] == LINES, 30)
    asyncio.run(_add_files(up))
    body = {
        "project": "gallery",
        "run": "one",
        "state": "finished",
        "rows": [{"step": 0, "loss": 1}],
    }
    up.post("/v1/batches", body)
    wait_until(lambda: up.get("/v1/projects/local/gallery/keys")["keys"], 30)


def _values(run: str) -> list[dict[str, Any]]:
    found = []
    for step in STEPS:
        image = {"path": f"media/{step}.png", "width": 8, "height": 8, "caption": f"at {step}"}
        edges = np.linspace(0, 1, 9).tolist()
        values: dict[str, dict[str, Any]] = {
            "images/sample": {"_type": "image-file", **image},
            "images/late": {"_type": "image-file", "path": f"late/{step}.png"},
            "other/histogram": {
                "_type": "histogram",
                "values": [1, 2, 3, 4, 5, 6, 7, 8],
                "bins": edges,
            },
            "other/table": {"_type": "table-file", "path": "media/table.json"},
            "other/page": {"_type": "html-file", "path": "media/page.html"},
            "other/model": {"_type": "object3D-file", "path": "media/model.glb", "size": 2_000},
        }
        found += [
            {"t": "value", "key": key, "step": step, "time": 1, "kind": value["_type"],
             "json": json.dumps(value)}
            for key, value in values.items()
        ]  # fmt: skip
    return found


def _lines() -> list[dict[str, Any]]:
    return [
        {"t": "console", "line": line, "time": 1_700_000_000_000_000 + line,
         "stream": "stderr" if line == 2_990 else "stdout",
         "text": "\x1b[31mbroken\x1b[0m pipe" if line == 2_990 else f"line number {line}"}
        for line in range(LINES)
    ]  # fmt: skip


async def _add_files(up: Up) -> None:
    catalog = open_catalog(f"sqlite+aiosqlite:///{up.folder}/data/catalog.db")
    try:
        files, blobs = RunFiles(catalog.database), open_blobs(str(up.folder / "data" / "blobs"))
        for at, run in enumerate(RUNS):
            row = await catalog.run(RunRef("local", "gallery", run))
            assert row is not None
            for name, content in _contents(at).items():
                await store_file(files, blobs, row.number, name, content)
    finally:
        await catalog.close()


def _contents(at: int) -> dict[str, bytes]:
    table = {"columns": ["name", "score"], "data": [["b", 2], ["a", 10], ["c", float("nan")]]}
    images = {f"media/{step}.png": png(np.full((8, 8, 3), 40 + step * 20 + at)) for step in STEPS}
    return {
        **images,
        "media/table.json": json.dumps(table).encode(),
        "media/page.html": PAGE.encode(),
        "media/model.glb": bytes(2_000),
        "notes 100%.txt": b"remember the milk",
        "deep/er/settings.json": b'{"rate":0.5}',
    }
