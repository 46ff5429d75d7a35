"""A plan as text, as JSON, and as values for the Helm chart."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby

from penstock_server.plan.figures import figures
from penstock_server.plan.lines import InstallationPlan, Line, number, size
from penstock_server.plan.workload import Workload

__all__ = ["as_figures", "as_json", "as_text", "as_values", "shown"]

_WIDTH = 26
_MOST_IN_ONE_POD = 4


def as_text(load: Workload, plan: InstallationPlan) -> str:
    """Every line with its arithmetic, then warnings and where the figures are from."""
    return "\n".join(_text(load, plan))


def _text(load: Workload, plan: InstallationPlan) -> Iterator[str]:
    yield (
        f"{number(load.runs)} runs x {number(load.keys)} keys x {number(load.hz)} Hz,"
        f" {number(load.headroom)} times what the average load uses"
    )
    for section, lines in groupby(plan.lines.values(), key=lambda line: line.section):
        yield f"\n{section}"
        for line in lines:
            yield f"  {line.name:<{_WIDTH}} {shown(line):>14}   = {line.formula}"
    if plan.warnings:
        yield "\nnote"
        yield from (f"  - {each}" for each in plan.warnings)
    used = {name for line in plan.lines.values() for name in line.figures}
    measured = sorted({(figures()[name].date, figures()[name].machine) for name in used})
    yield "\nmeasured"
    yield from (f"  {date} on {machine}" for date, machine in measured)
    yield "  `penstock plan --figures` lists each figure with its source"


def shown(line: Line) -> str:
    """A line's value with its unit."""
    if line.unit in ("B", "B/s"):
        return size(line.value, line.unit)
    if line.unit in ("processes", "shards"):
        return number(line.value)
    return f"{number(line.value)} {line.unit}"


def as_figures() -> str:
    """Every measured figure, with its source."""
    return "\n".join(
        f"{each.name:<30} {each.value:>12,g} {each.unit:<10} {each.what}; {each.source};"
        f" {each.date}, {each.machine}"
        for each in figures().values()
    )


def as_json(load: Workload, plan: InstallationPlan) -> str:
    """The same for programs; values in the units that each line names."""
    content = {
        "load": asdict(load),
        "lines": [asdict(line) for line in plan.lines.values()],
        "warnings": plan.warnings,
        "figures": {
            name: asdict(figures()[name])
            for name in sorted({name for line in plan.lines.values() for name in line.figures})
        },
    }
    return json.dumps(content, indent=1, ensure_ascii=False)


def as_values(load: Workload, plan: InstallationPlan) -> str:
    """Values for the Helm chart: one pod where that is enough, otherwise every role by itself. The sizes of Redis and of
    ClickHouse, which the chart does not install, are comments."""
    is_single = load.replicas == 1 and plan["gateways"] + plan["workers"] <= _MOST_IN_ONE_POD
    lines = ["# from `penstock plan`", *(_single(plan) if is_single else _cluster(plan))]
    backlog = math.ceil(plan["PENSTOCK_BACKLOG_BYTES"])
    return "\n".join([*lines, "settings:", f'  PENSTOCK_BACKLOG_BYTES: "{backlog}"'])


def _single(plan: InstallationPlan) -> list[str]:
    gateways, workers = int(plan["gateways"]), int(plan["workers"])
    cores = gateways + workers + plan["store CPU"] + plan["Redis CPU"]
    each = (("gateway", gateways), ("worker", workers))
    usual = plan["store memory"] + sum(n * plan[f"memory of a {role}"] for role, n in each)
    most = plan["store memory"] + sum(n * plan[f"memory limit of a {role}"] for role, n in each)
    return [
        "mode: single",
        "single:",
        f"  gateways: {gateways}",
        f"  workers: {workers}",
        "  persistence:",
        f"    size: {_gib(plan['disk'])}",
        # The queue fills only in an outage.
        *_resources(cores, usual, most + plan["Redis memory"]),
    ]


def _cluster(plan: InstallationPlan) -> list[str]:
    lines = [
        "# Redis: "
        f"maxmemory {_mib(plan['Redis maxmemory'])}, {_mib(plan['Redis memory'])} of memory, {number(plan['Redis CPU'])} cores",
        f"# ClickHouse: {number(plan['store CPU'])} cores, {_mib(plan['store memory'])} of memory and page cache,"
        f" {_gib(plan['disk'])} of disk over all copies",
        "mode: cluster",
    ]
    for name, count, role in (
        ("gateway", "gateways", "gateway"),
        ("web", "web processes", "gateway"),
        ("worker", "workers", "worker"),
    ):
        lines += [f"{name}:", f"  replicas: {int(plan[count])}"]
        lines += _resources(1, plan[f"memory of a {role}"], plan[f"memory limit of a {role}"])
    return lines


def _resources(cores: float, usual_bytes: float, most_bytes: float) -> list[str]:
    return [
        "  resources:",
        f'    requests: {{cpu: "{math.ceil(cores)}", memory: {_mib(usual_bytes)}}}',
        f"    limits: {{memory: {_mib(max(usual_bytes, most_bytes))}}}",
    ]


def _mib(value: float) -> str:
    return f"{max(1, math.ceil(value / 2**20))}Mi"


def _gib(value: float) -> str:
    return f"{max(1, math.ceil(value / 2**30))}Gi"
