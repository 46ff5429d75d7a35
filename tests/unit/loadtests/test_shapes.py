"""Load shapes and the ledger that follows them: what is lost, doubled or altered must be seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from benchmarks.generate import WriterPlan, expected, key_names
from benchmarks.ledger import Ledger
from loadtests.remote import compare
from loadtests.shapes import SHAPES

KIND = SHAPES["steady"].kinds[0]
PLAN = WriterPlan(3, 0)
BATCHES = 14


def rows() -> list[dict[str, Any]]:
    """What a server that lost nothing answers."""
    steps, values = expected(KIND.batch, PLAN, BATCHES)
    names = key_names(KIND.batch)
    shown = {np.inf: "Infinity", -np.inf: "-Infinity"}
    return [
        {
            "_step": step,
            **{
                name: "NaN" if np.isnan(value) else shown.get(value, float(value))
                for name, value in zip(names, values[:, column], strict=True)
            },
        }
        for column, step in enumerate(steps.tolist())
    ]


def ledger(answer: list[dict[str, Any]]) -> Ledger:
    found = Ledger()
    compare(found, KIND, PLAN, BATCHES, answer)
    return found


def test_a_server_that_lost_nothing_is_clean() -> None:
    found = ledger(rows())
    assert found.is_clean, str(found)
    assert found.points == len(rows()) * KIND.batch.keys


def test_everything_that_can_go_wrong_is_counted() -> None:
    answer, key = rows(), key_names(KIND.batch)[0]
    assert ledger(answer[1:]).missing == KIND.batch.keys
    assert ledger([*answer, answer[5]]).duplicate == KIND.batch.keys
    assert ledger([*answer, {**answer[5], "_step": 10**6}]).phantom == KIND.batch.keys
    altered = [dict(row) for row in answer]
    altered[7][key] = 0.123
    del altered[8][key]
    found = ledger(altered)
    assert (found.altered, found.missing, found.is_clean) == (1, 1, False)


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_cover_all_of_the_time_and_keep_runs_apart(name: str) -> None:
    shape = SHAPES[name]
    assert [shape.at(part) is not None for part in (0, 0.5, 0.999, 1.0)] == [
        True,
        True,
        True,
        False,
    ]
    assert len(shape.kinds_from) == len(shape.kinds)
    assert len({kind.first_run for kind in shape.kinds}) == len(shape.kinds)
    assert len({kind.project for kind in shape.kinds}) == len(shape.kinds)
