"""Early stopping on curves that are known."""

from __future__ import annotations

import pytest

from penstock_sweeps.hyperband import Hyperband, rungs_of, should_stop

RULE = Hyperband(min_iter=2, max_iter=None, s=None, eta=3.0)


@pytest.mark.parametrize(
    ("rule", "brackets"),
    [
        (Hyperband(3, None, None, 3.0), [3, 9, 27, 81]),
        (Hyperband(3, 27, None, 3.0), [3, 9, 27]),
        (Hyperband(None, 27, 2, 3.0), [3, 9]),
        (Hyperband(None, 81, 4, 3.0), [1, 3, 9, 27]),
        (Hyperband(None, 10, 5, 2.0), [1, 2, 5]),
        (Hyperband(1, 4, None, 1.5), [1, 2, 3]),
    ],
)
def test_brackets(rule: Hyperband, brackets: list[int]) -> None:
    assert rule.brackets[: len(brackets)] == brackets
    if rule.max_iter is not None:
        assert rule.brackets == brackets


def test_a_rung_is_the_best_value_so_far_and_stays() -> None:
    assert rungs_of(RULE, "minimize", [5.0], {}) == {}
    assert rungs_of(RULE, "minimize", [5.0, 7.0], {}) == {"2": 5.0}
    assert rungs_of(RULE, "maximize", [5.0, 7.0], {}) == {"2": 7.0}
    curve = [5.0, 7.0, 4.0, 9.0, 9.0, 3.0]
    assert rungs_of(RULE, "minimize", curve, {}) == {"2": 5.0, "6": 3.0}
    assert rungs_of(RULE, "minimize", curve, {"2": 1.0}) == {"2": 1.0, "6": 3.0}


def stopped(goal: str, values: list[float], *, eta: float = 3.0) -> list[float]:
    """Those of these values at the first bracket that are stopped there."""
    rule = Hyperband(2, None, None, eta)
    everyone = [{"2": value} for value in values]
    return [
        value for value, mine in zip(values, everyone, strict=True)
        if should_stop(rule, goal, mine, everyone, value)
    ]  # fmt: skip


def test_the_best_third_goes_on() -> None:
    assert stopped("minimize", [1, 2, 3, 4, 5, 6]) == [3, 4, 5, 6]
    assert stopped("maximize", [1, 2, 3, 4, 5, 6]) == [1, 2, 3, 4]
    assert stopped("minimize", [1, 2, 3, 4], eta=2) == [3, 4]


def test_nobody_is_behind_among_too_few() -> None:
    assert stopped("minimize", [1, 2]) == []
    assert stopped("minimize", [1, 2, 3]) == [2, 3]


def test_who_has_not_come_to_a_bracket_goes_on() -> None:
    assert not should_stop(RULE, "minimize", {}, [{"2": 1.0}] * 9, 100.0)


def test_who_has_caught_up_since_goes_on_unless_it_is_strict() -> None:
    everyone = [{"2": value} for value in (1.0, 2.0, 3.0)]
    assert should_stop(RULE, "minimize", {"2": 3.0}, everyone, 3.0)
    assert not should_stop(RULE, "minimize", {"2": 3.0}, everyone, 0.5)
    strict = Hyperband(2, None, None, 3.0, strict=True)
    assert should_stop(strict, "minimize", {"2": 3.0}, everyone, 0.5)


def test_a_later_bracket_is_what_counts() -> None:
    everyone = [{"2": 1.0, "6": 0.9}, {"2": 2.0, "6": 0.8}, {"2": 0.5, "6": 0.1}]
    assert should_stop(RULE, "minimize", everyone[0], everyone, 0.9)
    assert not should_stop(RULE, "minimize", everyone[2], everyone, 0.1)
