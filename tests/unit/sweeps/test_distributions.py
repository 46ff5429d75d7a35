"""Every distribution keeps its bounds, its steps and its chances; wrong ones are told clearly."""

from __future__ import annotations

import math
import random
from collections import Counter
from statistics import NormalDist, fmean
from typing import Any

import pytest

from penstock.errors import Rejected
from penstock_sweeps.beta import beta_quantile
from penstock_sweeps.distributions import Categorical, Numeric, read_distribution
from penstock_sweeps.space import read_space

US = [0.0, 1e-9, *(n / 997 for n in range(1, 997)), 1 - 1e-9, 1.0]


def spread(**entry: Any) -> Numeric:
    found = read_distribution("p", entry)
    assert isinstance(found, Numeric)
    return found


@pytest.mark.parametrize(
    ("entry", "low", "high"),
    [
        ({"min": 0.5, "max": 2.5}, 0.5, 2.5),
        ({"min": "1e-4", "max": "1e-1", "distribution": "uniform"}, 1e-4, 1e-1),
        ({"min": 1e-5, "max": 0.1, "distribution": "log_uniform_values"}, 1e-5, 0.1),
        ({"min": -3, "max": 2, "distribution": "log_uniform"}, math.exp(-3), math.exp(2)),
        ({"min": -1, "max": 4, "distribution": "inv_log_uniform"}, math.exp(-4), math.exp(1)),
        ({"min": 0.01, "max": 10, "distribution": "inv_log_uniform_values"}, 0.01, 10),
    ],
)
def test_ranges_reach_from_end_to_end(entry: dict[str, Any], low: float, high: float) -> None:
    values = [spread(**entry).at(u) for u in US]
    assert values == sorted(values)
    assert min(values) == pytest.approx(low)
    assert max(values) == pytest.approx(high)
    assert low <= min(values) <= max(values) <= high


def test_logarithms_are_even() -> None:
    by_value = spread(min=1e-4, max=1.0, distribution="log_uniform_values")
    assert [by_value.at(u) for u in (0.25, 0.5, 0.75)] == pytest.approx([1e-3, 1e-2, 1e-1])


def test_whole_numbers_have_equal_chances() -> None:
    found = Counter(spread(min=3, max=7).at(n / 5_000) for n in range(5_000))
    assert found == dict.fromkeys(range(3, 8), 1_000)
    assert all(isinstance(value, int) for value in found)


@pytest.mark.parametrize(
    ("entry", "grid"),
    [
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}, [0, 0.25, 0.5, 0.75, 1]),
        (
            {"distribution": "q_uniform", "min": 0.1, "max": 0.5, "q": 0.1},
            [0.1, 0.2, 0.3, 0.4, 0.5],
        ),
        ({"distribution": "q_uniform", "min": 15, "max": 64, "q": 16}, [16, 32, 48, 64]),
        ({"min": 2, "max": 9, "q": 3}, [3, 6, 9]),
        ({"distribution": "q_log_uniform_values", "min": 1, "max": 5}, [1, 2, 3, 4, 5]),
        ({"distribution": "q_log_uniform", "min": 0, "max": math.log(5)}, [1, 2, 3, 4, 5]),
    ],
)
def test_quantised_values_are_multiples_within_the_bounds(
    entry: dict[str, Any], grid: list[float]
) -> None:
    distribution = spread(**entry)
    assert distribution.grid is not None
    assert list(distribution.grid) == grid
    assert {distribution.at(u) for u in US} == set(grid)


@pytest.mark.parametrize("q", [0.5, 2])
def test_bells_are_quantised_too(q: float) -> None:
    for kind, more in (("q_normal", {"mu": 10, "sigma": 3}), ("q_log_normal", {}), ("q_beta", {})):
        values = {spread(distribution=kind, q=q, **more).at(u) for u in US}
        assert all(value % q == 0 for value in values)


def test_normal_and_log_normal_have_their_moments() -> None:
    numbers = random.Random(1)
    us = [numbers.random() for _ in range(20_000)]
    normal = spread(distribution="normal", mu=5, sigma=2)
    assert fmean(map(normal.at, us)) == pytest.approx(5, abs=0.05)
    assert normal.at(0.975) == pytest.approx(NormalDist(5, 2).inv_cdf(0.975))
    assert math.isfinite(normal.at(0))
    assert math.isfinite(normal.at(1))
    assert spread(distribution="log_normal").at(0.5) == pytest.approx(1.0)
    assert spread(mu=5, sigma=2).at(0.5) == pytest.approx(5)


def test_beta_quantiles() -> None:
    assert beta_quantile(0.3, 1, 1) == pytest.approx(0.3)
    assert beta_quantile(0.25, 2, 1) == pytest.approx(0.5)  # x² = 0.25
    assert beta_quantile(0.75, 1, 2) == pytest.approx(0.5)  # 1 - (1 - x)² = 0.75
    assert beta_quantile(0.5, 30, 30) == pytest.approx(0.5)
    assert beta_quantile(0.95, 2, 5) == pytest.approx(0.5818034, abs=1e-6)
    assert spread(distribution="beta", a=2, b=5).at(0.95) == pytest.approx(0.5818034, abs=1e-6)


def test_choices_have_their_probabilities() -> None:
    choice = read_distribution("p", {"values": ["a", "b", "c"], "probabilities": [0.5, 0.3, 0.2]})
    assert isinstance(choice, Categorical)
    found = Counter(choice.values[choice.place(n / 10_000)] for n in range(10_000))
    assert [found[each] for each in "abc"] == pytest.approx([5_000, 3_000, 2_000], abs=2)
    never = read_distribution("p", {"values": [1, 2, 3], "probabilities": [0, 1, 0]})
    assert isinstance(never, Categorical)
    assert {never.place(u) for u in US[:-1]} == {1}


def test_values_may_be_anything() -> None:
    values = ["relu", None, True, [64, 64], {"a": 1}]
    choice = read_distribution("p", {"values": values})
    assert isinstance(choice, Categorical)
    assert [choice.values[choice.place(n / 5)] for n in range(5)] == values


def test_nested_parameters_come_out_nested() -> None:
    space = read_space(
        {
            "lr": {"min": 0.0, "max": 1.0},
            "optimizer": {
                "parameters": {
                    "name": {"values": ["adam", "sgd"]},
                    "betas": {"parameters": {"first": {"value": 0.9}}},
                }
            },
        }
    )
    point = space.random_point("s", 0)
    assert point.keys() == {"lr", "optimizer.name"}
    values = space.values(point)
    assert values["optimizer"]["betas"] == {"first": 0.9}
    assert values["optimizer"]["name"] in ("adam", "sgd")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({}, "parameter p: it needs `value`, `values`, `min` and `max`, or a `distribution`"),
        ({"min": 1}, "parameter p: it needs `value`"),
        ({"min": 2, "max": 1}, "parameter p: `min` must not be above `max`"),
        ({"min": 1.0, "max": 1.0}, "parameter p: `min` must be below `max`"),
        ({"distribution": "uniform", "max": 1}, "parameter p: `min` is missing"),
        ({"distribution": "gauss"}, "parameter p: unknown distribution 'gauss'"),
        ({"distribution": "int_uniform", "min": 1, "max": 2.5}, "must be whole numbers"),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "`min` must be above 0"),
        ({"distribution": "log_uniform", "min": 1, "max": 1_000}, "use log_uniform_values"),
        ({"distribution": "normal", "sigma": 0}, "`sigma` must be above 0"),
        ({"distribution": "beta", "a": -1}, "`a` and `b` must be above 0"),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0}, "`q` must be above 0"),
        ({"distribution": "q_uniform", "min": 1, "max": 2, "q": 5}, "no multiple of `q`"),
        ({"min": "low", "max": 1}, "`min` must be a number, not 'low'"),
        ({"min": 0.0, "max": float("inf")}, "`max` must be a number"),
        ({"values": []}, "`values` must be a non-empty list"),
        ({"values": 3}, "`values` must be a non-empty list"),
        ({"values": [1, 2], "probabilities": [1]}, "as long as `values`"),
        ({"values": [1, 2], "probabilities": [0.5, 0.6]}, "must add up to 1"),
        ({"values": [1, 2], "probabilities": [1.5, -0.5]}, "must not be negative"),
        ({"min": 1, "max": 2, "mean": 0}, "parameter p: unknown key 'mean'"),
    ],
)
def test_what_is_wrong_is_said(entry: dict[str, Any], says: str) -> None:
    with pytest.raises(Rejected) as refused:
        read_distribution("p", entry)
    assert says in str(refused.value)
    assert refused.value.code == "bad_sweep"
