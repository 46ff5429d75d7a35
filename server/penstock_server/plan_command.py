"""The command `penstock plan`: what an installation needs for a load, with the arithmetic shown."""

# What calculates is loaded only by this command.
# ruff: noqa: PLC0415

from __future__ import annotations

import argparse
import sys
from typing import Any

__all__ = ["add_plan_command"]


def add_plan_command(subparsers: Any) -> None:
    """Add the command `plan`."""
    plan = subparsers.add_parser("plan", help="work out what an installation needs for a load")
    add = plan.add_argument
    add("--runs", type=int, default=10, help="runs that log at the same time (%(default)s)")
    add("--keys", type=int, default=20, help="metrics per row (%(default)s)")
    add("--hz", type=float, default=1.0, help="rows per second and run (%(default)s)")
    add("--days", type=float, default=30.0, help="days a month with this load (%(default)g)")
    add("--run-hours", type=float, default=24.0, help="how long a run lasts (%(default)g)")
    add(
        "--outage-min", type=float, default=10.0,
        help="minutes without workers or store that the queue has room for (%(default)g)",
    )  # fmt: skip
    add("--readers", type=int, default=1, help="pages open with live charts (%(default)s)")
    add("--retention", type=float, default=365.0, help="days that data is kept (%(default)g)")
    add(
        "--replicas", type=int, default=1,
        help="copies of the stored data, and the least number of each process (%(default)s)",
    )  # fmt: skip
    add("--media-mb", type=float, default=0.0, help="files and media per run, in MB (%(default)g)")
    add(
        "--headroom", type=float, default=1.5,
        help="what is planned, divided by what the average load uses (%(default)g)",
    )  # fmt: skip
    shape = plan.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print JSON")
    shape.add_argument(
        "--values", action="store_true", help="print values for the Helm chart, as YAML"
    )
    shape.add_argument(
        "--figures", action="store_true", help="print the measured figures and their sources"
    )
    plan.set_defaults(run=_plan)


def _plan(arguments: argparse.Namespace) -> int:
    from dataclasses import fields

    from penstock_server.plan.printing import as_figures, as_json, as_text, as_values
    from penstock_server.plan.sizing import plan_for
    from penstock_server.plan.workload import Workload

    if arguments.figures:
        return _say(as_figures())
    load = Workload(**{each.name: getattr(arguments, each.name) for each in fields(Workload)})
    plan = plan_for(load)
    if arguments.json:
        return _say(as_json(load, plan))
    return _say(as_values(load, plan) if arguments.values else as_text(load, plan))


def _say(text: str) -> int:
    sys.stdout.write(f"{text}\n")
    return 0
