"""The delivery ledger: what the store holds of each writer of a run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from penstock_common.openapi import Operation
from penstock_web.models import Answered, Asked

__all__ = ["OPERATIONS", "Ledger", "LedgerPage", "LedgerPageQuery"]

_HEX = "^[0-9a-f]{16}$"


class LedgerWriter(Answered):
    writer: str
    rank: int
    lane: int
    started: int = Field(description="Microseconds since 1970 UTC.")
    low: int | None = Field(
        description="Every batch up to this number is marked as stored; null if the store has no mark."
    )
    gaps: list[int] = Field(description="Numbers above `low` that are marked as stored too.")
    dead: list[int] = Field(description="Numbers that were put aside instead of being stored.")
    batches: int = Field(description="Batches that the store has a record of.")
    points_sent: int = Field(description="Points in these batches, as they were received.")
    points_stored: int = Field(
        description="Points that readers see: a step logged again counts once."
    )
    points_duplicate: int = Field(description="Points that readers would see twice.")
    values_stored: int = Field(description="Strings, lists, histograms … that readers see.")


class Ledger(Answered):
    writers: list[LedgerWriter] = Field(description="By rank and start.")


class LedgerPageQuery(Asked):
    part: Literal["batches", "points", "values"] = Field(
        "batches",
        description="batches: their numbers and digests; points, values: count and hash of each key.",
    )
    after: int = Field(
        0, ge=0, lt=2**32, description="Go on behind this: the `next` of the page before."
    )
    limit: int = Field(50_000, ge=1, le=100_000, description="At most so many in an answer.")


class LedgerBatches(Answered):
    """Columns, by number."""

    seq: list[int]
    digest: list[str] = Field(
        description="The first 16 hexadecimal digits of blake2b (16 bytes) of the batch before"
        " compression."
    )
    points: list[int]
    records: list[int]


class LedgerKey(Answered):
    key: str
    count: int
    hash: str = Field(
        pattern=_HEX,
        description="The sum modulo 2^64 of the hash of each point, intHash64(bits(v) ^"
        " intHash64(step)), or value, the first 8 bytes of MD5 of `step kind json`, little-endian.",
    )


class LedgerPage(Answered):
    """One part of one writer's ledger; the other is null."""

    writer: str
    batches: LedgerBatches | None = None
    keys: list[LedgerKey] | None = None
    next: int | None = Field(description="`after` of the page that follows; null on the last one.")


OPERATIONS = [
    Operation(
        "GET", "/v1/runs/{entity}/{project}/{run}/ledger", "ledger",
        "What the store holds of each writer of a run",
        answers={200: Ledger}, errors=(401, 404, 410), needs_key=False,
    ),
    Operation(
        "GET", "/v1/runs/{entity}/{project}/{run}/ledger/{writer}", "ledger",
        "A writer's batches, or its keys, as the store holds them, page by page",
        answers={200: LedgerPage}, query=LedgerPageQuery, errors=(400, 401, 404, 410), needs_key=False,
    ),
]  # fmt: skip
