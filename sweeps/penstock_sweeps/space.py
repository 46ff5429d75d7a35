"""The search space: all parameters of a sweep, and the points in it.

A *point* has a position for each parameter, by its dotted name: an index for a categorical one, u in
[0, 1) for a number. Constants are not part of it.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from penstock_sweeps.distributions import (
    KEYS,
    Categorical,
    Distribution,
    bad_sweep,
    read_distribution,
)

__all__ = ["Parameter", "Space", "read_space"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """`path`: the names that lead to it; one, unless it is nested."""

    path: tuple[str, ...]
    distribution: Distribution

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def is_constant(self) -> bool:
        return isinstance(self.distribution, Categorical) and len(self.distribution.values) == 1

    def value(self, place: float) -> Any:
        """Its value at this position of a point."""
        if isinstance(self.distribution, Categorical):
            return self.distribution.values[int(place)]
        return self.distribution.at(place)

    def place(self, value: Any) -> float | None:
        """The position of this value; None if it is not possible."""
        return self.distribution.place_of(value)

    @property
    def grid(self) -> Sequence[Any] | None:
        """All its values in order; None if they are not countable."""
        if isinstance(self.distribution, Categorical):
            return self.distribution.values
        return self.distribution.grid


@dataclass(frozen=True, slots=True)
class Space:
    """The parameters in the order of the configuration."""

    parameters: tuple[Parameter, ...]

    def values(self, point: Mapping[str, float]) -> dict[str, Any]:
        """The parameters' values at a point, nested as in the configuration."""
        found: dict[str, Any] = {}
        for each in self.parameters:
            _place(found, each.path, each.value(point.get(each.name, 0)))
        return found

    def point_of(self, config: Mapping[str, Any]) -> dict[str, float] | None:
        """The point of a run's config, nested or with dotted names; None if a parameter is missing or
        has a value outside the space."""
        point: dict[str, float] = {}
        for each in self.parameters:
            if each.is_constant:
                continue
            place = each.place(_found(config, each))
            if place is None:
                return None
            point[each.name] = place
        return point

    def random_point(self, sweep: str, index: int) -> dict[str, float]:
        """The point of this trial, determined by the sweep and the index."""
        digest = hashlib.sha256(f"{sweep}/{index}".encode()).digest()
        numbers = random.Random(int.from_bytes(digest))  # noqa: S311  (nothing is secret here)
        point: dict[str, float] = {}
        for each in self.parameters:
            u = numbers.random()
            if not each.is_constant:
                choice = each.distribution
                point[each.name] = choice.place(u) if isinstance(choice, Categorical) else u
        return point

    @property
    def grid_size(self) -> int:
        """The number of combinations. Raises `Rejected` if they are not countable."""
        return prod(len(grid) for grid in self._grids())

    def grid_values(self, index: int) -> dict[str, Any]:
        """The combination with this index; the last parameter varies fastest."""
        found: dict[str, Any] = {}
        places: list[int] = []
        grids = list(self._grids())
        for grid in reversed(grids):
            index, place = divmod(index, len(grid))
            places.append(place)
        for each, grid, place in zip(self.parameters, grids, reversed(places), strict=True):
            _place(found, each.path, grid[place])
        return found

    def _grids(self) -> Iterator[Sequence[Any]]:
        for each in self.parameters:
            grid = each.grid
            if grid is None:
                bad_sweep(
                    f"parameter {each.name}: a grid needs `values`, `value`, whole numbers from `min`"
                    " to `max`, or a q_uniform distribution"
                )
            yield grid


def read_space(entries: Any) -> Space:
    """Parse the `parameters` of a configuration. Raises `Rejected`."""
    if not isinstance(entries, Mapping) or not entries:
        bad_sweep("`parameters` must name at least one parameter")
    parameters = tuple(_read(entries, ()))
    counts = Counter(each.name for each in parameters)
    if twice := next((name for name, count in counts.items() if count > 1), None):
        bad_sweep(f"parameter {twice}: it occurs twice, once nested and once with dots")
    return Space(parameters)


def _read(entries: Mapping[Any, Any], path: tuple[str, ...]) -> Iterator[Parameter]:
    for key, entry in entries.items():
        here = (*path, str(key))
        name = ".".join(here)
        if not isinstance(entry, Mapping):
            bad_sweep(
                f"parameter {name}: it must be an object, as in `{key}: {{value: {entry!r}}}`"
            )
        nested = entry.get("parameters")
        if isinstance(nested, Mapping) and not KEYS & set(entry):
            if not nested:
                bad_sweep(f"parameter {name}: its `parameters` are empty")
            yield from _read(nested, here)
        else:
            yield Parameter(here, read_distribution(name, entry))


def _place(found: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        found = found.setdefault(key, {})
    found[path[-1]] = value


def _found(config: Mapping[str, Any], parameter: Parameter) -> Any:
    """The parameter's value in a config; None if there is none."""
    if parameter.name in config:
        return config[parameter.name]
    found: Any = config
    for key in parameter.path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
