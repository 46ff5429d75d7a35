"""`python -m benchmarks`: measures this machine and prints the table of docs/performance.md."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import (
    beside_wandb,
    charts,
    disk,
    fresh,
    gateway,
    history,
    idle,
    ingest,
    light,
    native,
    one_by_one,
    planning,
    sweep,
    wandb_streams,
    worst,
)
from benchmarks.machine import describe
from benchmarks.peers import beside_peers
from benchmarks.report import Row, print_table, save

_SUITES: dict[str, Callable[[float], Iterator[Row]]] = {
    "P1": native.log_rows,
    "P2": native.cpu_rows,
    "P3": ingest.rows,
    "P4": native.end_to_end_rows,
    "P5": sweep.rows,
    "P6": gateway.rows,
    "P7": charts.rows,
    "P8": fresh.rows,
    "P9": disk.rows,
    "P10": idle.rows,
    "P12": wandb_streams.rows,
    "P14": history.rows,
    "P15": light.rows,
    "P17": worst.rows,
    "P18": one_by_one.rows,
    "P19": planning.rows,
    "P20": beside_wandb.rows,
}


def main() -> None:
    """Run the suites one after another; each starts and stops what it needs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="suites, e.g. P1,P3")
    parser.add_argument("--seconds", type=float, default=20, help="length of each load")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument(
        "--plan", action="store_true", help="run P19 alone, and let `penstock plan` use its figures"
    )
    arguments = parser.parse_args()
    if arguments.plan:
        _measure_for_plans(arguments.seconds)
        return
    wanted = arguments.only.split(",") if arguments.only else list(_SUITES)
    if unknown := set(wanted) - set(_SUITES):
        parser.error(f"no suite {', '.join(sorted(unknown))}; there are {', '.join(_SUITES)}")
    machine, rows = describe(), []
    for name in wanted:
        for row in _SUITES[name](arguments.seconds):
            print(f"  {row.number}  {row.ours}  ({row.what})", flush=True)
            rows.append(beside_peers(row))
    print_table(rows, machine)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    save(arguments.json or Path(__file__).parent / "results" / f"{stamp}.json", rows, machine)


def _measure_for_plans(seconds: float) -> None:
    rows: list[Row] = []
    for row, values in planning.measured(seconds):
        print(f"  {row.number}  {row.ours}  ({row.what})", flush=True)
        rows.append(row)
        planning.write(values, row.what)
    print_table(rows, describe())


if __name__ == "__main__":
    main()
