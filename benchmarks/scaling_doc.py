"""`python -m benchmarks.scaling_doc`: writes the tables of docs/scaling.md that `penstock plan` and its figures make."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock_server.plan.figures import figures
from penstock_server.plan.lines import InstallationPlan, number
from penstock_server.plan.printing import shown
from penstock_server.plan.sizing import ROLES, plan_for
from penstock_server.plan.workload import Workload

__all__ = ["EXAMPLES", "PAGE", "Example", "filled", "tables"]

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
_BLOCK = "<!-- {name}: python -m benchmarks.scaling_doc -->"
_END = "<!-- end -->"
_POINTS_PER_BATCH = (20, 200, 1_000, 10_000, 100_000)


@dataclass(frozen=True, slots=True)
class Example:
    """A load as `penstock plan` takes it."""

    name: str
    options: str

    @property
    def load(self) -> Workload:
        given = re.findall(r"--([\w-]+) ([\d.]+)", self.options)
        types = {"runs": int, "keys": int, "readers": int, "replicas": int}
        values: dict[str, Any] = {
            name.replace("-", "_"): types.get(name, float)(value) for name, value in given
        }
        return Workload(**values)


EXAMPLES = (
    Example("laptop", "--runs 10 --keys 20 --hz 10 --readers 1 --retention 365"),
    Example("lab", "--runs 1000 --keys 100 --hz 1 --readers 10 --retention 365"),
    Example("cluster", "--runs 10000 --keys 200 --hz 1 --readers 100 --retention 90 --replicas 2"),
)

_SHOWN = (
    "points per second", "batches per second", "seconds between batches", "gateways", "web processes", "workers",
    "shards", "store CPU", "store memory", "Redis CPU", "PENSTOCK_BACKLOG_BYTES", "Redis memory",
    "disk per month", "disk", "network in", "network out", "cores in use",
)  # fmt: skip


def tables() -> dict[str, str]:
    """The content of each block of the page, by name."""
    return {"costs": _costs(), "examples": _examples()}


def filled(page: str) -> str:
    """The page with its blocks as they are now."""
    for name, table in tables().items():
        begin = _BLOCK.format(name=name)
        page = re.sub(
            rf"{re.escape(begin)}\n.*?{_END}",
            lambda _, begin=begin, table=table: f"{begin}\n{table}\n{_END}",  # type: ignore[misc]
            page,
            flags=re.DOTALL,
        )
    return page


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _costs() -> str:
    known = figures()
    rows = []
    for points in _POINTS_PER_BATCH:
        costs = [
            known[f"{role}_us_per_batch"].value / points + known[f"{role}_us_per_point"].value
            for role in ROLES
        ]
        rows.append([f"{points:,}", *(f"{each:.3g}" for each in costs), f"{sum(costs):.3g}"])
    return _table(["points per batch", *ROLES, "together"], rows)


def _examples() -> str:
    plans = [plan_for(each.load) for each in EXAMPLES]
    rows = [[name, *(shown(plan.lines[name]) for plan in plans)] for name in _SHOWN]
    rows.append(["largest share of the cores", *map(_largest, plans)])
    rows.append(["notes", *(number(len(plan.warnings)) for plan in plans)])
    options = "\n".join(f"penstock plan {each.options}    # {each.name}" for each in EXAMPLES)
    return f"```sh\n{options}\n```\n\n" + _table(["", *(each.name for each in EXAMPLES)], rows)


def _largest(plan: InstallationPlan) -> str:
    line = max(
        (line for name, line in plan.lines.items() if name.startswith("share of ")),
        key=lambda line: line.value,
    )
    return f"{line.name.removeprefix('share of ')} {line.value:.0f} %"


def main() -> None:
    PAGE.write_text(filled(PAGE.read_text()))


if __name__ == "__main__":
    main()
