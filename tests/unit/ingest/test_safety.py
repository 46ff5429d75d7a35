"""Which Redis is fit to be a queue."""

from __future__ import annotations

from typing import Any

import pytest

from penstock_ingest.safety import problem_of

GOOD = {
    "redis_version": "7.0.15",
    "maxmemory_policy": "noeviction",
    "maxmemory": 2**30,
    "aof_enabled": 1,
}


@pytest.mark.parametrize("version", ["6.2.0", "6.2.14", "7.0.15", "7.2.4", "8.0", "10.0.1"])
def test_what_keeps_its_data_is_fit(version: str) -> None:
    assert problem_of({**GOOD, "redis_version": version}) == ""


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"redis_version": "6.0.20"}, "6.0.20 is older than 6.2"),
        ({"redis_version": "5.0.7"}, "older"),
        ({"maxmemory_policy": "allkeys-lru"}, "allkeys-lru"),
        ({"maxmemory_policy": "volatile-ttl"}, "volatile-ttl"),
        ({"maxmemory": 0}, "maxmemory is 0"),
        ({"aof_enabled": 0}, "appendonly"),
    ],
)
def test_what_may_forget_is_not(changes: dict[str, Any], word: str) -> None:
    assert word in problem_of({**GOOD, **changes})


@pytest.mark.parametrize("name", GOOD)
def test_what_says_nothing_of_it_is_not(name: str) -> None:
    assert problem_of({key: value for key, value in GOOD.items() if key != name})
