"""Filters of the public API in the words of the search."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.errors import Rejected
from penstock_compat.wandb.runs.filters import parse_api_filter, parse_api_order
from penstock_storage.search.filters import AllOf, Exists, Inverse, parse_filter
from penstock_storage.search.ordering import parse_order
from penstock_storage.search.paths import Path

_NOBODY = Inverse(Exists(Path("", "run")))


@pytest.mark.parametrize(
    ("api", "own"),
    [
        ({"name": "r1"}, {"run": "r1"}),
        ({"display_name": "a"}, {"name": "a"}),
        ({"displayName": {"$ne": "a"}}, {"name": {"$ne": "a"}}),
        ({"description": "x"}, {"notes": "x"}),
        ({"sweepName": "s"}, {"sweep": "s"}),
        ({"duration": {"$gt": 5}}, {"summary._runtime": {"$gt": 5}}),
        ({"config.name": "kept"}, {"config.name": "kept"}),
        ({"summary_metrics.name": 1}, {"summary.name": 1}),
        ({"$or": [{"name": "r"}, {"state": "x"}]}, {"$or": [{"run": "r"}, {"state": "x"}]}),
        ({"$not": {"name": "r"}}, {"$not": {"run": "r"}}),
        (
            {"$and": [{"$nor": [{"name": "r"}]}, {"group": "g"}]},
            {"$and": [{"$nor": [{"run": "r"}]}, {"group": "g"}]},
        ),
        ({"username": "me"}, {"run": {"$exists": True}}),
        ({"username": {"$in": ["me", "you"]}}, {"run": {"$exists": True}}),
        ({"entity": {"$regex": "^m"}}, {"run": {"$exists": True}}),
        ({"$and": [{}]}, {"$and": [{"run": {"$exists": True}}]}),
    ],
)
def test_names(api: dict[str, Any], own: dict[str, Any]) -> None:
    assert parse_api_filter(api, "me") == parse_filter(own)


def test_what_all_runs_of_an_owner_lack() -> None:
    assert parse_api_filter({"user": "you"}, "me") == _NOBODY
    assert parse_api_filter({"username": {"$ne": "me"}}, "me") == _NOBODY
    both = parse_api_filter({"state": "x", "username": "you"}, "me")
    assert both == AllOf((parse_filter({"state": "x"}), _NOBODY))


@pytest.mark.parametrize("nothing", [None, {}])
def test_no_filter(nothing: object) -> None:
    assert parse_api_filter(nothing, "me") is None


@pytest.mark.parametrize(
    "wrong",
    [
        [], "x", 5, {"$where": "x"}, {"$or": {}}, {"$or": []}, {"$and": [5]}, {"nothing": 1},
        {"username": {"$near": 1}}, {"state": {"$all": []}}, {"name": {"$regex": "("}},
        {"$not": 5}, {"config.lr": {}},
    ],
)  # fmt: skip
def test_what_is_refused(wrong: object) -> None:
    with pytest.raises(Rejected):
        parse_api_filter(wrong, "me")


def test_deep_filters_are_refused_not_followed() -> None:
    deep: dict[str, Any] = {"state": "x"}
    for _ in range(5_000):
        deep = {"$and": [deep]}
    with pytest.raises(Rejected):
        parse_api_filter(deep, "me")


@pytest.mark.parametrize(
    ("api", "own"),
    [
        ("-created_at", ["-created_at"]),
        ("+created_at", ["created_at"]),
        ("+name", ["run"]),
        ("-display_name", ["-name"]),
        ("+summary_metrics.loss, -config.lr.value", ["summary.loss", "-config.lr.value"]),
        ("-heartbeat_at", ["-updated_at"]),
    ],
)
def test_orders(api: str, own: list[str]) -> None:
    assert parse_api_order(api) == parse_order(own)


def test_unknown_orders_are_refused() -> None:
    with pytest.raises(Rejected):
        parse_api_order("+nothing")
