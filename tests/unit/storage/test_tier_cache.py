"""The cache of folded tiers: what was asked for last stays, within its bytes."""

from __future__ import annotations

import numpy as np

from penstock_storage.charts.partials import Partials
from penstock_storage.charts.tier_cache import CachedTiers, TierCache
from penstock_storage.clickhouse.aggregates import CHART_AGGREGATES


def entry(cells: int) -> CachedTiers:
    ints, floats = np.arange(cells), np.zeros(cells)
    lane = np.zeros(cells, np.uint16)
    columns = {
        name: floats if each.dtype is np.float64 else ints
        for name, each in CHART_AGGREGATES.items()
    }
    return CachedTiers(Partials(ints, ints, lane, columns), [(1, 1, None)])


def test_the_oldest_goes_when_there_is_no_room() -> None:
    cache = TierCache(limit_bytes=27_000)
    cache.put("a", entry(100))
    cache.put("b", entry(100))
    cache.put("c", entry(100))
    assert cache.get("a") is not None
    cache.put("d", entry(100))  # four times 8,700 bytes are too many
    assert cache.get("b") is None
    assert [cache.get(name) is not None for name in "acd"] == [True] * 3


def test_an_entry_is_replaced_and_one_too_large_is_not_kept() -> None:
    cache = TierCache(limit_bytes=27_000)
    for size in (100, 200, 100):
        cache.put("a", entry(size))
    for name in "bc":
        cache.put(name, entry(100))
    assert all(cache.get(name) is not None for name in "abc")
    cache.put("huge", entry(10_000))
    assert cache.get("huge") is None
