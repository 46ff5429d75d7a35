"""The sweep that the tests of the page use, and the type of the function that opens a page."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page

__all__ = ["OPTIMIZERS", "RATES", "RUNS", "Open", "run_body"]

Open = Callable[..., Page]
"""Opens an address in a fresh browser context: `open_page(url, scheme="dark", width=390)`."""


RUNS = 150
RATES = (0.0003, 0.001, 0.003)
OPTIMIZERS = ("adam", "sgd")
STEPS = 60


def run_body(number: int) -> dict[str, Any]:
    """A run by number: rates and optimizers alternate, and each loss is lower than the one
    before."""

    def loss(step: int) -> float:
        if number == RUNS - 1 and step == 30:
            return 9.0
        return 0.5 + 2 * math.exp(-step / 20) - number / 1000

    rows = [
        {"step": step, "_timestamp": 1_700_000_000 + 3600 * number + 10 * step,
         "train/loss": loss(step), "train/accuracy": step / STEPS, "eval/loss": loss(step) + 0.1}
        for step in range(STEPS)
    ]  # fmt: skip
    return {
        "project": "sweep",
        "run": f"run-{number:03d}",
        "name": f"trial {number}",
        "state": "failed" if number % 10 == 3 else "finished",
        "tags": ["baseline"] if number == 0 else [],
        "config": {
            "lr": RATES[number % len(RATES)],
            "seed": number,
            "optimizer": {"name": OPTIMIZERS[number % len(OPTIMIZERS)], "momentum": 0.9},
        },
        "rows": rows,
    }
