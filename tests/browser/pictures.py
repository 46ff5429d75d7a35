"""Makes docs/page.png and docs/table.png, pictures of the page.

    PYTHONPATH=tests python tests/browser/pictures.py

Starts a `penstock up` of its own, logs a made-up sweep to it, and needs a Chromium.
"""

from __future__ import annotations

import math
import random
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Page
from support.chromium import chromium
from support.up import Up, running_up, wait_until

_DOCS = Path(__file__).parents[2] / "docs"
_RUNS, _STEPS, _EVAL_EVERY = 64, 2_000, 100
_FIRST = (
    "amber", "brisk", "dusty", "eager", "gentle", "hazel", "icy", "jolly", "lunar", "misty", "noble",
    "opal", "proud", "quiet", "rapid", "solar", "tidy",
)  # fmt: skip
_SECOND = (
    "brook", "cedar", "glade", "heron", "island", "jetty", "kelp", "lagoon", "meadow", "nectar",
    "otter", "pebble", "quarry", "river", "summit", "valley", "willow", "zephyr",
)  # fmt: skip


def run_body(number: int, rng: random.Random, now: float) -> dict[str, Any]:
    """One trial: its rate and depth decide how fast it learns, and how well."""
    lr = rng.choice([1e-4, 3e-4, 1e-3, 3e-3, 1e-2])
    width, depth = rng.choice([128, 256, 512]), rng.choice([4, 8, 12])
    batch_size = rng.choice([32, 64])
    pace = 1_500 / (1 + 4 * lr**0.25) * (1.1 if batch_size == 64 else 0.9)
    best = 0.87 + 0.05 * rng.random() + 0.01 * (depth == 12)
    speed, step_ms = 3_600 + 300 * rng.choice([0, 1, 2]) / 1.5, 33 + 4 * rng.choice([0, 1, 2])
    rows = []
    for step in range(_STEPS if number < _RUNS - 4 else int(_STEPS * 0.97)):
        left = math.exp(-step / pace)
        row = {
            "step": step, "_timestamp": now - 1_500 + step * 0.7,
            "train/loss": 0.12 + 2.2 * left + rng.gauss(0, 0.04),
            "train/accuracy": min(1.0, best + 0.06 - 0.85 * left + rng.gauss(0, 0.012)),
            "throughput/images_per_s": speed + rng.gauss(0, 45),
            "throughput/gpu_util": min(100.0, 91 + rng.gauss(0, 2)),
            "throughput/step_ms": step_ms + rng.gauss(0, 1.2),
        }  # fmt: skip
        if step % _EVAL_EVERY == 0:
            row |= {
                "eval/accuracy": best - 0.85 * left + rng.gauss(0, 0.012),
                "eval/f1": best - 0.03 - 0.82 * left + rng.gauss(0, 0.012),
                "eval/loss": 0.2 + 2.3 * left + rng.gauss(0, 0.03),
            }
        rows.append(row)
    going = number >= _RUNS - 4
    return {
        "project": "vision",
        "run": f"trial-{number:02d}",
        "name": f"{rng.choice(_FIRST)}-{rng.choice(_SECOND)}-{number + 1}",
        "state": "running" if going else "failed" if number % 13 == 12 else "finished",
        "config": {
            "lr": lr,
            "model": {"width": width, "depth": depth, "dropout": rng.choice([0.0, 0.1])},
            "data": {"batch_size": batch_size},
            "optimizer": {"name": rng.choice(["adam", "sgd", "lion"])},
        },
        "rows": rows,
    }


def fill(up: Up) -> None:
    """Logs all runs, and waits until the last one is stored."""
    rng, now = random.Random(7), time.time()
    for number in range(_RUNS):
        up.post("/v1/batches?wait=committed", run_body(number, rng, now))
    last = {
        "project": "vision",
        "runs": [f"trial-{_RUNS - 1:02d}"],
        "keys": ["train/loss"],
        "buckets": 10,
    }
    wait_until(lambda: bool(up.post("/v1/charts", last)["series"]), 60)


def address(up: Up, **view: str | list[str]) -> str:
    return f"{up.url}/?{urlencode({'project': 'local/vision', **view}, doseq=True)}"


def take(page: Page, name: str) -> None:
    page.wait_for_timeout(1_500)  # until curves and fonts are there
    page.screenshot(path=_DOCS / name)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, running_up(Path(folder)) as up:
        fill(up)
        with chromium() as browser:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            pins = ["train/loss", "train/accuracy", "throughput/images_per_s"]
            page.goto(address(up, most="12", smooth="0.6", pin=pins))
            panel = page.locator("canvas").first
            panel.wait_for()
            page.wait_for_timeout(2_000)
            box = panel.bounding_box()
            assert box is not None
            page.mouse.move(box["x"] + 0.62 * box["width"], box["y"] + 0.75 * box["height"])
            take(page, "page.png")
            best = {"sort": "-summary.eval/accuracy", "filter": "lr > 3e-4 and state = finished"}
            page.goto(address(up, view="table", **best))
            page.wait_for_selector("text=eval/accuracy")
            take(page, "table.png")


if __name__ == "__main__":
    main()
