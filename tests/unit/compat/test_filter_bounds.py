"""Filters of strangers are bounded before they cost anything."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.errors import Rejected
from penstock_compat.wandb.runs.filters import parse_api_filter
from penstock_storage.search.filters import parse_filter

SLOW = r"\w{100}"


@pytest.mark.parametrize(
    "found",
    [
        {"$or": [{"name": {"$regex": f"{SLOW}{n}"}} for n in range(400)]},
        {"$or": [{"username": {"$regex": f"{SLOW}{n}"}} for n in range(400)]},
        {"$or": [{"name": {"$in": [0] * 10_000}} for _ in range(400)]},
        {"$and": [{"$and": [{"$or": [{"run": "x"}]}]} for _ in range(3_000)]},
        {f"config.k{n}": 1 for n in range(600)},
    ],
    ids=["patterns", "owners", "values", "lists", "conditions"],
)
def test_a_filter_that_costs_too_much_is_refused(found: Any) -> None:
    with pytest.raises(Rejected) as refused:
        parse_api_filter(found, "local")
    assert refused.value.code == "bad_filter"


def test_an_honest_filter_of_some_size_passes() -> None:
    names = [f"run{n}" for n in range(10_000)]
    parse_filter({"$or": [{"run": {"$in": names}}, {"name": {"$regex": "^a"}}]})
    parse_api_filter({"$or": [{"username": "local"}, {"state": "running"}]}, "local")
