"""JSON rows, hostile: refused with `Rejected`, or made a batch that the worker can read."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest
from support.fuzzing import cases, corpus, kept, or_refused, source
from support.hostile import mutated

from penstock.wire import DEFAULT_LIMITS, decode_stored
from penstock_ingest.rows import batches_from_json

KNOWN = corpus("rows")
_PLAIN = (
    0, 1, -1, 1.5, 1e308, -0.0, 2**53 - 1, 2**53, 2**63 - 1, -(2**63), 2**64 - 1, True, False, None,
    "", "x", "NaN", "Infinity", "-Infinity", "é", "😀", "\x00", "a/b", "k" * 513,
)  # fmt: skip


def anything(rng: random.Random) -> Any:
    match rng.randrange(8):
        case 0:
            return [anything(rng) for _ in range(rng.randrange(3))]
        case 1:
            return {str(rng.choice(_PLAIN)): anything(rng) for _ in range(rng.randrange(3))}
        case 2:
            return nested(rng.choice((50, 150, 254, 400)), rng.choice((list, dict)))
        case 3:
            return {"_type": anything(rng), "bins": [1, 2]}
        case _:
            return rng.choice(_PLAIN)


def nested(depth: int, kind: type) -> orjson.Fragment:
    """Deeper than orjson itself would write."""
    opening, closing = ("[", "]") if kind is list else ('{"a":', "}")
    return orjson.Fragment(f"{opening * depth}1{closing * depth}")


def body(rng: random.Random) -> bytes:
    row = {"step": rng.randrange(100), "loss": 0.5, "note": "x", "_timestamp": 1_700_000_000.5}
    rows = [dict(row) for _ in range(rng.randrange(3))]
    fields: dict[str, Any] = {"project": "p", "run": "r", "rows": rows, "config": {"lr": 0.1}}
    for _ in range(rng.randrange(3)):
        place = rng.choice([fields, *rows])
        more = (*_PLAIN, "entity", "summary", "state", "name", "tags", "a.b")
        name = rng.choice(list(place)) if rng.random() < 0.7 else str(rng.choice(more))
        place[name] = anything(rng)
    raw = orjson.dumps(fields)
    return mutated(rng, raw) if rng.random() < 0.4 else raw


def check(raw: bytes) -> bool:
    with kept("rows", raw):
        made = or_refused(batches_from_json, raw, DEFAULT_LIMITS)
        if made is None:
            return False
        # What was accepted is made of batches by the wire's own rules: a worker must not choke on it.
        for each in made:
            assert decode_stored(each.raw) == each.batch
            for record in each.batch.records:
                orjson.dumps(record)
        return True


@pytest.mark.parametrize("name", KNOWN)
def test_what_was_found_before(name: str) -> None:
    assert check(KNOWN[name]) == name.startswith("good")


@pytest.mark.timeout(300)
def test_hostile_rows_are_refused_or_read() -> None:
    rng = source("rows")
    count = cases(50_000)
    accepted = sum(check(body(rng)) for _ in range(count))
    assert count // 10 < accepted < count
