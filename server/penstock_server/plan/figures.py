"""The measured figures that plans are worked out from.

They are in `figures.toml`, each with its unit, its row in docs/performance.md, the machine and the date.
`python -m benchmarks --plan` measures them again on this machine and writes that file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["FIGURES", "Figure", "figures", "write_figures"]

FIGURES = Path(__file__).with_name("figures.toml")

_HEAD = """\
# What `penstock plan` calculates with. `python -m benchmarks --plan` measures most of it again on this machine and
# writes this file; figures that it does not measure stay as they are. `source` is the beginning of a row of
# docs/performance.md.
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured number, and where it is from."""

    name: str
    value: float
    unit: str
    what: str
    source: str
    machine: str
    date: str


@cache
def figures(path: Path = FIGURES) -> dict[str, Figure]:
    """All figures by name."""
    content = tomllib.loads(path.read_text())
    return {name: Figure(name, **each) for name, each in content.items()}


def write_figures(new: Iterable[Figure], path: Path = FIGURES) -> None:
    """Replace figures of the same names; keep the others."""
    kept = dict(figures(path)) if path.exists() else {}
    everything = {**kept, **{each.name: each for each in new}}
    blocks = [
        f"[{each.name}]\nvalue = {each.value!r}\n"
        + "".join(
            f"{field} = {_quoted(getattr(each, field))}\n"
            for field in ("unit", "what", "source", "machine", "date")
        )
        for each in sorted(everything.values(), key=lambda each: each.name)
    ]
    path.write_text("\n".join([_HEAD, *blocks]))
    figures.cache_clear()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
