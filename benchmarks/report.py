"""One row per figure: ours, the target, the limit measured in the same run, and the best peer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Row", "print_table", "save"]


@dataclass(frozen=True, slots=True)
class Row:
    """`reference` is a limit of the parts, measured in the same run. `meets` is None where a row only
    shows how cost grows."""

    number: str
    what: str
    ours: str
    target: str = ""
    reference: str = ""
    meets: bool | None = None
    peer: str = ""


def print_table(rows: Iterable[Row], machine: Mapping[str, str]) -> None:
    """Print the rows as a Markdown table below a line that names the machine."""
    print("\n" + ", ".join(f"{name} {value}" for name, value in machine.items()) + "\n")
    print("| | what | ours | target | | limit or floor, same run | peers |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        mark = {True: "met", False: "**short**", None: ""}[row.meets]
        print(
            f"| {row.number} | {row.what} | {row.ours} | {row.target} | {mark} | {row.reference} |"
            f" {row.peer} |"
        )


def save(path: Path, rows: Iterable[Row], machine: Mapping[str, str]) -> None:
    """Write the same as JSON, to compare later runs with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": dict(machine), "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(content, indent=1))
