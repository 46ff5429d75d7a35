"""What a trial's parameters change of a config."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.values.configs import swept

CONFIG = {"model": {"dim": 2, "lr": 0.1, "head": {"n": 1, "drop": 0.0}}, "seed": 1}


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"seed": 2}, {"seed": 2}),
        ({"model": {"dim": 8}}, {"model": {**CONFIG["model"], "dim": 8}}),  # type: ignore[dict-item]
        ({"model.dim": 8}, {"model": {**CONFIG["model"], "dim": 8}}),  # type: ignore[dict-item]
        (
            {"model": {"head": {"n": 4}}},
            {"model": {"dim": 2, "lr": 0.1, "head": {"n": 4, "drop": 0.0}}},
        ),
        (
            {"model.head.n": 4, "model.dim": 8},
            {"model": {"dim": 8, "lr": 0.1, "head": {"n": 4, "drop": 0.0}}},
        ),
        ({"model.new.deep": 4}, {"model": {**CONFIG["model"], "new": {"deep": 4}}}),  # type: ignore[dict-item]
        ({"other": {"a": 1}}, {"other": {"a": 1}}),
        ({"other.a": 1}, {"other.a": 1}),
        ({"seed.a": 1}, {"seed.a": 1}),
        ({"model": 5}, {"model": 5}),
        ({"seed": {"a": 1}}, {"seed": {"a": 1}}),
        ({".": 1, "a.": 2, "model.": 3}, {".": 1, "a.": 2, "model.": 3}),
    ],
)
def test_a_parameter_changes_its_leaf_alone(
    parameters: dict[str, Any], expected: dict[str, Any]
) -> None:
    before = repr(CONFIG)
    assert swept(CONFIG, parameters) == expected
    assert repr(CONFIG) == before


def test_a_flat_name_of_the_configs_own_stays_flat() -> None:
    config = {"model.dim": 2, "model": {"dim": 3}}
    assert swept(config, {"model.dim": 8}) == {"model.dim": 8}
