"""The delivery ledger: what the store holds from each writer of a run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from penstock_common.http.openapi import Operation
from penstock_web.models import Answered, Asked

__all__ = ["GET_LEDGER", "GET_LEDGER_PAGE", "Ledger", "LedgerPage", "LedgerPageQuery"]

_HEX = "^[0-9a-f]{16}$"


class LedgerWriter(Answered):
    writer: str
    rank: int
    lane: int
    started: int = Field(description="Microseconds since 1970 UTC.")
    low: int | None = Field(
        description="Every batch up to this number is recorded as stored; null if the store has no record."
    )
    gaps: list[int] = Field(
        description="Batch numbers above `low` that are also recorded as stored."
    )
    dead: list[int] = Field(
        description="Batch numbers moved to the dead letters instead of being stored."
    )
    batches: int = Field(description="Number of batches that the store has recorded.")
    points_sent: int = Field(description="Number of points in these batches, as received.")
    points_stored: int = Field(
        description="Number of points that readers see; a step logged again counts once."
    )
    points_duplicate: int = Field(description="Number of points that readers would see twice.")
    values_stored: int = Field(
        description="Number of strings, lists, histograms and so on that readers see."
    )


class Ledger(Answered):
    writers: list[LedgerWriter] = Field(description="Sorted by rank, then by start.")


class LedgerPageQuery(Asked):
    part: Literal["batches", "points", "values"] = Field(
        "batches",
        description="batches: numbers and digests; points, values: count and hash of each key.",
    )
    after: int = Field(0, ge=0, lt=2**32, description="`next` of the previous page.")
    limit: int = Field(50_000, ge=1, le=100_000, description="Maximum number of entries to return.")


class LedgerBatches(Answered):
    """Columns, sorted by batch number."""

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
        " intHash64(step)), or of each value, the first 8 bytes of the MD5 of `step kind json`,"
        " little-endian.",
    )


class LedgerPage(Answered):
    """One part of a writer's ledger; the other part is null."""

    writer: str
    batches: LedgerBatches | None = None
    keys: list[LedgerKey] | None = None
    next: int | None = Field(description="`after` for the next page; null on the last page.")


GET_LEDGER = Operation(
    "GET", "/v1/runs/{entity}/{project}/{run}/ledger", "ledger",
    "Get what the store holds from each writer of a run",
    answers={200: Ledger}, errors=(401, 404, 410), needs_key=False,
)  # fmt: skip

GET_LEDGER_PAGE = Operation(
    "GET", "/v1/runs/{entity}/{project}/{run}/ledger/{writer}", "ledger",
    "Get a writer's batches or keys as the store holds them",
    answers={200: LedgerPage}, query=LedgerPageQuery, errors=(400, 401, 404, 410), needs_key=False,
)  # fmt: skip
