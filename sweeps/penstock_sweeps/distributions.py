"""Parameter distributions: parsed from the configuration, sampled by their quantiles.

Every numeric distribution is a quantile function of u in [0, 1). Random search draws u uniformly, and
Bayesian search works in u, where logarithmic parameters are uniform like any other.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import NormalDist
from typing import Any, NoReturn, overload

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_sweeps.beta import beta_quantile

__all__ = ["KEYS", "Categorical", "Distribution", "Numeric", "bad_sweep", "read_distribution"]

KEYS = frozenset(
    {
        "value", "values", "probabilities", "min", "max", "mu", "sigma", "a", "b", "q",
        "distribution", "desc",
    }
)  # fmt: skip
"""The keys of a parameter's entry, besides nested `parameters`."""

_HINT = "docs/sweeps.md describes a sweep's configuration."
_MAX_VALUES = 100_000
_MAX_MESSAGE_CHARS = 1_000
_EDGE = 2.0**-53
_HALVINGS = 53
_NORMAL = NormalDist()
_RANGES = (
    "uniform",
    "log_uniform",
    "log_uniform_values",
    "inv_log_uniform",
    "inv_log_uniform_values",
)


def bad_sweep(message: str) -> NoReturn:
    """Refuse a configuration."""
    raise Rejected(
        message if len(message) <= _MAX_MESSAGE_CHARS else f"{message[:_MAX_MESSAGE_CHARS]}…",
        code=ErrorCode.BAD_SWEEP,
        hint=_HINT,
    )


@dataclass(frozen=True, slots=True)
class Categorical:
    """One of these values, equally likely or with these probabilities."""

    values: tuple[Any, ...]
    probabilities: tuple[float, ...] = ()

    def place(self, u: float) -> int:
        """The index of the value that u selects."""
        if not self.probabilities:
            return min(int(u * len(self.values)), len(self.values) - 1)
        steps = list(accumulate(self.probabilities))
        return min(bisect_right(steps, u * steps[-1]), len(steps) - 1)

    def place_of(self, value: Any) -> int | None:
        """The index of this value; None if it is not among them. True is not 1."""
        for place, each in enumerate(self.values):
            if each == value and isinstance(each, bool) is isinstance(value, bool):
                return place
        return None


@dataclass(frozen=True, slots=True)
class Numeric:
    """A number. `grid` has all its values in order, if they are countable."""

    quantile: Callable[[float], float]
    grid: Sequence[float] | None = None

    def at(self, u: float) -> float:
        return self.quantile(min(max(u, 0.0), 1.0))

    def place_of(self, value: Any) -> float | None:
        """The u of this value, the middle one if there are several; None outside the bounds."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if not self.at(0.0) <= value <= self.at(1.0):
            return None
        first = _least(lambda u: self.at(u) >= value)
        behind = _least(lambda u: self.at(u) > value)
        return (first + behind) / 2


Distribution = Categorical | Numeric


def _least(holds: Callable[[float], bool]) -> float:
    """The smallest u from which a condition holds; 1 if it never does."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high


def read_distribution(name: str, entry: Mapping[str, Any]) -> Distribution:
    """Parse the entry of the parameter `name`. Raises `Rejected`."""
    return _DistributionReader(name, entry).read()


class _Computed(Sequence[float]):
    """A function's values for these numbers, computed lazily: thousands of parameters may have a
    hundred thousand values each."""

    def __init__(self, value: Callable[[float], float], of: range) -> None:
        self._value = value
        self._of = of

    def __len__(self) -> int:
        return len(self._of)

    @overload
    def __getitem__(self, index: int) -> float: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[float]: ...

    def __getitem__(self, index: int | slice) -> float | Sequence[float]:
        if isinstance(index, slice):
            return _Computed(self._value, self._of[index])
        return self._value(self._of[index])


class _DistributionReader:
    """Parses one parameter's entry."""

    def __init__(self, name: str, entry: Mapping[str, Any]) -> None:
        self._name = name
        self._entry = entry

    def read(self) -> Distribution:
        unknown = sorted(set(map(str, self._entry)) - KEYS)
        if unknown:
            self._bad(f"unknown key {unknown[0]!r}")
        kind = self._kind()
        match kind:
            case "constant":
                return Categorical((self._entry.get("value"),))
            case "categorical" | "categorical_w_probabilities":
                return self._categorical()
            case "int_uniform":
                return self._whole_numbers()
            case _:
                return self._spread(kind)

    def _spread(self, kind: str) -> Numeric:
        quantised = kind.startswith("q_")
        plain = kind.removeprefix("q_")
        if plain in _RANGES:
            quantile, ends = self._range(plain)
        elif plain in ("normal", "log_normal", "beta"):
            quantile, ends = self._bell(plain), None
        else:
            self._bad(f"unknown distribution {kind!r}")
        if not quantised:
            return Numeric(quantile)
        return self._quantised(quantile, ends)

    def _kind(self) -> str:
        entry = self._entry
        stated = entry.get("distribution")
        if stated is not None:
            return str(stated)
        if "value" in entry:
            return "constant"
        if "values" in entry:
            return "categorical"
        if "min" in entry and "max" in entry:
            if "q" in entry:
                return "q_uniform"
            ends = (entry["min"], entry["max"])
            whole = all(isinstance(end, int) and not isinstance(end, bool) for end in ends)
            return "int_uniform" if whole else "uniform"
        if "mu" in entry or "sigma" in entry:
            return "normal"
        if "a" in entry or "b" in entry:
            return "beta"
        self._bad("it needs `value`, `values`, `min` and `max`, or a `distribution`")

    def _categorical(self) -> Categorical:
        values = self._entry.get("values")
        if not isinstance(values, list | tuple) or not values:
            self._bad("`values` must be a non-empty list")
        chances = self._entry.get("probabilities")
        if chances is None:
            return Categorical(tuple(values))
        if not isinstance(chances, list | tuple) or len(chances) != len(values):
            self._bad("`probabilities` must be a list as long as `values`")
        numbers = tuple(self._as_number("probabilities", chance) for chance in chances)
        if min(numbers) < 0 or not math.isclose(sum(numbers), 1, abs_tol=1e-6):
            self._bad("`probabilities` must not be negative and must add up to 1")
        return Categorical(tuple(values), numbers)

    def _whole_numbers(self) -> Numeric:
        low, high = (self._number(end) for end in ("min", "max"))
        if low != int(low) or high != int(high):
            self._bad("`min` and `max` of int_uniform must be whole numbers")
        if low > high:
            self._bad("`min` must not be above `max`")
        first, count = int(low), int(high) - int(low) + 1
        grid = range(first, first + count) if count <= _MAX_VALUES else None
        return Numeric(lambda u: first + min(int(u * count), count - 1), grid)

    def _range(self, kind: str) -> tuple[Callable[[float], float], tuple[float, float]]:
        """The quantile function of a uniform distribution, and its lowest and highest value."""
        low, high = (self._number(end) for end in ("min", "max"))
        if low >= high:
            self._bad("`min` must be below `max`")
        if kind == "uniform":
            return lambda u: min(low + u * (high - low), high), (low, high)
        if kind.endswith("_values"):
            if low <= 0:
                self._bad("`min` must be above 0 for a log-uniform distribution")
            lowest, highest = math.log(low), math.log(high)
        elif kind == "inv_log_uniform":
            lowest, highest = -high, -low
        else:
            lowest, highest = low, high
        if highest > 700:
            self._bad("`min` and `max` are exponents of e here; use log_uniform_values for values")
        ends = (low, high) if kind.endswith("_values") else (math.exp(lowest), math.exp(highest))

        def quantile(u: float) -> float:
            value = math.exp(lowest + u * (highest - lowest))
            return min(max(value, ends[0]), ends[1])

        return quantile, ends

    def _bell(self, kind: str) -> Callable[[float], float]:
        if kind == "beta":
            a, b = self._number("a", 1.0), self._number("b", 1.0)
            if a <= 0 or b <= 0:
                self._bad("`a` and `b` must be above 0")
            return lambda u: beta_quantile(u, a, b)
        mu, sigma = self._number("mu", 0.0), self._number("sigma", 1.0)
        if sigma <= 0:
            self._bad("`sigma` must be above 0")

        def normal(u: float) -> float:
            return mu + sigma * _NORMAL.inv_cdf(min(max(u, _EDGE), 1 - _EDGE))

        if kind == "normal":
            return normal
        return lambda u: math.exp(min(normal(u), 700.0))

    def _quantised(
        self, quantile: Callable[[float], float], ends: tuple[float, float] | None
    ) -> Numeric:
        """The nearest multiple of q, within the bounds if there are any."""
        q = self._number("q", 1.0)
        if q <= 0:
            self._bad("`q` must be above 0")
        given = self._entry.get("q", 1)
        whole = isinstance(given, int) or float(q).is_integer()
        least, most = -math.inf, math.inf
        if ends is not None:
            if not all(math.isfinite(end / q) for end in ends):
                self._bad("`q` is too small for `min` and `max`")
            least, most = math.ceil(ends[0] / q - 1e-9), math.floor(ends[1] / q + 1e-9)
            if least > most:
                self._bad("no multiple of `q` lies between `min` and `max`")

        def multiple(times: float) -> float:
            # Twelve digits, so that 3 * 0.1 is 0.3.
            return int(times * q) if whole else float(f"{times * q:.12g}")

        grid = None
        if ends is not None and most - least < _MAX_VALUES:
            grid = _Computed(multiple, range(int(least), int(most) + 1))

        def nearest(u: float) -> float:
            return multiple(min(max(round(quantile(u) / q), least), most))

        return Numeric(nearest, grid)

    def _number(self, key: str, default: float | None = None) -> float:
        value = self._entry.get(key, default)
        if value is None:
            self._bad(f"`{key}` is missing")
        return self._as_number(key, value)

    def _as_number(self, key: str, value: Any) -> float:
        # YAML parses 1e-4, without a decimal point, as text.
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            self._bad(f"`{key}` must be a number, not {value!r}")
        return number

    def _bad(self, message: str) -> NoReturn:
        bad_sweep(f"parameter {self._name}: {message}")
