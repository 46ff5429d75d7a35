"""Where a run's config lies in a space: the way back from values to a point."""

from __future__ import annotations

import math
from typing import Any

import pytest
from support.marks import SMOKE

from penstock_sweeps.space import Space, read_space

RANGES: dict[str, dict[str, Any]] = {
    "uniform": {"min": -3.0, "max": 5.0},
    "whole": {"min": 1, "max": 512},
    "log": {"min": 1e-6, "max": 1.0, "distribution": "log_uniform_values"},
    "inverse": {"min": 0.01, "max": 2.0, "distribution": "inv_log_uniform_values"},
    "steps": {"min": 0.0, "max": 2.0, "q": 0.25},
    "near": {"mu": 10.0, "sigma": 2.0, "distribution": "normal"},
    "above": {"mu": 0.0, "sigma": 1.0, "distribution": "log_normal"},
    "share": {"a": 2.0, "b": 5.0, "distribution": "beta"},
    "chosen": {"values": ["a", "b", 3, None, True, 1.5]},
}


@pytest.mark.parametrize(
    "name",
    # The beta distribution's takes a second.
    [pytest.param(name, marks=SMOKE if name == "share" else []) for name in RANGES],
)
def test_a_value_that_was_drawn_is_found_again(name: str) -> None:
    space = read_space({name: RANGES[name]})
    for index in range(20):
        values = space.values(space.random_point("sweep", index))
        point = space.point_of(values)
        assert point is not None
        again = space.values(point)[name]
        if isinstance(again, float):
            assert math.isclose(again, values[name], rel_tol=1e-9, abs_tol=1e-9)
        else:
            assert again == values[name]
            assert type(again) is type(values[name])


def of(config: dict[str, Any]) -> dict[str, float] | None:
    space: Space = read_space(
        {
            "x": {"min": 0.0, "max": 1.0},
            "flag": {"values": [0, True]},
            "net": {"parameters": {"depth": {"min": 1, "max": 4}, "kind": {"value": "mlp"}}},
        }
    )
    return space.point_of(config)


def test_nested_dotted_and_constant_parameters() -> None:
    nested = of({"x": 0.5, "flag": True, "net": {"depth": 2}, "more": 1})
    assert nested is not None
    assert nested["flag"] == 1
    assert nested == of({"x": 0.5, "flag": True, "net.depth": 2})
    assert nested.keys() == {"x", "flag", "net.depth"}


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"x": 0.5, "flag": True},
        {"x": 1.5, "flag": True, "net": {"depth": 2}},
        {"x": "0.5", "flag": True, "net": {"depth": 2}},
        {"x": True, "flag": True, "net": {"depth": 2}},
        {"x": math.nan, "flag": True, "net": {"depth": 2}},
        {"x": 0.5, "flag": 1, "net": {"depth": 2}},
        {"x": 0.5, "flag": True, "net": {"depth": [2]}},
        {"x": 0.5, "flag": True, "net": 7},
        {"x": 10**400, "flag": True, "net": {"depth": 2}},
    ],
)
def test_what_lies_outside_of_the_space_has_no_point(config: dict[str, Any]) -> None:
    assert of(config) is None
