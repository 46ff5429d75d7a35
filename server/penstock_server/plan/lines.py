"""A plan: lines with their arithmetic, warnings, and what to do at a limit."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["InstallationPlan", "Line", "number", "size"]

_SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


@dataclass(frozen=True, slots=True)
class Line:
    """One result. `formula` shows the numbers that it comes from; `figures` are the measured ones among them."""

    section: str
    name: str
    formula: str
    value: float
    unit: str
    figures: tuple[str, ...] = ()


@dataclass(slots=True)
class InstallationPlan:
    """All lines in order, by name; each later one may use the earlier ones."""

    lines: dict[str, Line] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(
        self, section: str, name: str, value: float, unit: str, formula: str, *figures: str
    ) -> float:
        """Add a line; returns its value."""
        if name in self.lines:
            raise ValueError(f"there is a line {name!r} already")
        self.lines[name] = Line(section, name, formula, value, unit, figures)
        return value

    def __getitem__(self, name: str) -> float:
        return self.lines[name].value

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def number(value: float) -> str:
    """A number as people write it: 4 digits that mean something, thousands separated."""
    if value == 0:
        return "0"
    if abs(value) >= 1_000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.4g}"


def size(value: float, unit: str = "B") -> str:
    """Bytes, or bytes per second, in a unit that keeps the number small; powers of ten."""
    for least, name in _SIZES:
        if value >= least:
            return f"{number(value / least)} {unit.replace('B', name)}"
    return f"{number(value)} {unit}"
