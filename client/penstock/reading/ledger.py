"""The server's side of the delivery ledger: what its store holds from each writer of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from penstock.errors import Transient
from penstock.reading.reader import Reader
from penstock.shipper.sums import KeySum

__all__ = ["LedgerReader", "StoredBatch", "StoredWriter"]

T = TypeVar("T")

_PAUSE_S = 0.5


@dataclass(frozen=True)
class StoredWriter:
    """A writer in the store; docs/api.md describes the fields."""

    writer: str
    rank: int
    lane: int
    started: int
    low: int | None
    gaps: list[int]
    dead: list[int]
    batches: int
    points_sent: int
    points_stored: int
    points_duplicate: int
    values_stored: int


@dataclass(frozen=True)
class StoredBatch:
    digest: str
    points: int


class LedgerReader:
    """Reads the ledger of one run; retries until `deadline` (monotonic) while the server is
    unavailable. Raises PenstockError."""

    def __init__(
        self, reader: Reader, api_key: str, entity: str, project: str, run: str, deadline: float
    ) -> None:
        self._reader = reader
        self._key = api_key
        self._path = "/v1/runs/" + "/".join(quote(name, safe="") for name in (entity, project, run))
        self._deadline = deadline

    def writers(self) -> list[StoredWriter]:
        found = self._get(f"{self._path}/ledger")["writers"]
        return [StoredWriter(**each) for each in found]

    def batches(self, writer: str) -> dict[int, StoredBatch]:
        """The batches of a writer by number."""
        found: dict[int, StoredBatch] = {}
        for page in self._pages(writer, "batches"):
            columns = page["batches"]
            for seq, digest, points in zip(
                columns["seq"], columns["digest"], columns["points"], strict=True
            ):
                found[seq] = StoredBatch(digest, points)
        return found

    def sums(self, writer: str, part: str) -> dict[str, KeySum]:
        """Count and hash of each key; `part` is points or values."""
        return {
            own["key"]: KeySum(own["count"], int(own["hash"], 16))
            for page in self._pages(writer, part)
            for own in page["keys"]
        }

    def points(self, lane: int, key: str) -> Iterator[tuple[int, float]]:
        """Step and value of every point of a key, as any reader of the run sees them."""
        query = {"lanes": "all"}
        if "," not in key:  # a comma would split it
            query["keys"] = key
        for row in self._reader.rows(f"{self._path}/history", self._key, query):
            value: Any = row.get(key)
            if row["_lane"] == lane and type(value) in (int, float):
                yield row["_step"], float(value)

    def _pages(self, writer: str, part: str) -> Iterator[dict[str, Any]]:
        after: int | None = 0
        while after is not None:
            query = urlencode({"part": part, "after": after})
            page = self._get(f"{self._path}/ledger/{quote(writer, safe='')}?{query}")
            yield page
            after = page["next"]

    def _get(self, path: str) -> dict[str, Any]:
        return self._repeatedly(lambda: self._reader.get(path, self._key))

    def _repeatedly(self, action: Callable[[], T]) -> T:
        while True:
            try:
                return action()
            except Transient as error:
                pause_s = error.retry_after_s or _PAUSE_S
                if time.monotonic() + pause_s > self._deadline:
                    raise
                time.sleep(pause_s)
