"""Line streams: the offsets of clients that count their own lines, by run and generation.

Some trackers' clients number the lines of their files and continue from a count that the server
returns. A generation begins when a run is logged again from its first line; older ones are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Integer,
    Table,
    Text,
    and_,
    false,
    func,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock_common.process.bounds import DEFAULT_BOUNDS, Bounds, Owner, refusal
from penstock_common.queue.redis_keys import run_path
from penstock_storage.catalog.chunks import chunks
from penstock_storage.catalog.database import Database
from penstock_storage.catalog.tables import Json, metadata, projects, runs

__all__ = ["LineStream", "LineStreams", "line_streams"]

line_streams = Table(
    "line_streams",
    metadata,
    Column("run", ForeignKey("runs.number"), primary_key=True),
    Column("client", Text, primary_key=True),
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("rank", Integer, nullable=False),
    Column("history", BigInteger, nullable=False, default=0),
    Column("events", BigInteger, nullable=False, default=0),
    Column("console", BigInteger, nullable=False, default=0),
    Column("posted_at", BigInteger, nullable=False, default=-1),
    Column("last_seq", BigInteger, nullable=False, default=0),
    Column("tail", Json, nullable=False, default=dict),
    Column("events_tail", Json, nullable=False, default=dict),
    Column("posted_line", BigInteger, nullable=False, default=0, server_default="0"),
    Column("origin", BigInteger, nullable=False, default=0, server_default="0"),
    Column("beside", Boolean, nullable=False, default=False, server_default=false()),
)


@dataclass(slots=True)
class LineStream:
    """One client's lines in one generation of a run.

    `client` is empty if the run has only one; `generation`: when it began (µs). `history`, `events` and
    `console` count lines; `posted_at` is the index of the first line in the last history post and
    `posted_line` its checksum, 0 if unknown; `last_seq` is the number of the last batch made of lines;
    `tail` and `events_tail` hold the needed parts of the last lines. `origin`: about when the process
    that sends the lines began, in µs by its own clock; 0 if unknown. `beside`: another process of this
    client sends lines too, in its own generation.
    """

    run: int
    client: str
    generation: int
    rank: int
    history: int = 0
    events: int = 0
    console: int = 0
    posted_at: int = -1
    posted_line: int = 0
    last_seq: int = 0
    tail: dict[str, Any] = field(default_factory=dict)
    events_tail: dict[str, Any] = field(default_factory=dict)
    origin: int = 0
    beside: bool = False

    @property
    def awaits_first_line(self) -> bool:
        """Whether a process was announced that has sent no history yet."""
        return self.history == 0 and self.posted_at < 0

    @property
    def is_untouched(self) -> bool:
        """Whether there are no lines yet."""
        return self.last_seq == 0


class LineStreams:
    """The table of line streams."""

    def __init__(self, database: Database, bounds: Bounds = DEFAULT_BOUNDS) -> None:
        self._database = database
        self._bounds = bounds

    async def of_client(self, run: int, client: str) -> list[LineStream]:
        """All of a run's client, newest generation first."""
        here = line_streams.c
        query = select(line_streams).where(here.run == run, here.client == client)
        async with self._database.reading() as connection:
            rows = await connection.execute(query.order_by(here.generation.desc()))
            return [LineStream(**row) for row in rows.mappings()]

    async def of_runs(self, runs: Sequence[int]) -> dict[int, list[LineStream]]:
        """The same for several runs; runs without any are absent."""
        found: dict[int, list[LineStream]] = {}
        async with self._database.reading() as connection:
            for numbers in chunks(runs):
                query = (
                    select(line_streams)
                    .where(line_streams.c.run.in_(numbers))
                    .order_by(line_streams.c.generation.desc(), line_streams.c.rank)
                )
                for row in (await connection.execute(query)).mappings():
                    found.setdefault(row["run"], []).append(LineStream(**row))
        return found

    async def begin(
        self, run: int, client: str, now: int, *, start: LineStream | None = None
    ) -> LineStream:
        """A new generation that begins at `now` (µs), with the counts of `start` if given.

        A client keeps its rank in all generations; a new client gets the next rank. Each generation
        is another writer of the run: raises `Rejected` (422) if that exceeds a bound.
        """
        async with self._database.writing() as connection:
            rank = await _rank(connection, run, client)
            await self._require_room(connection, run)
            stream = LineStream(run, client, now, rank)
            if start is not None:
                stream.history, stream.events = start.history, start.events
                stream.console, stream.tail = start.console, start.tail
                stream.events_tail, stream.beside = start.events_tail, start.beside
            row = {name: getattr(stream, name) for name in line_streams.c.keys()}  # noqa: SIM118
            await connection.execute(self._database.insert_missing(line_streams), row)
        return stream

    async def resume(self, stream: LineStream) -> None:
        """Another process sends the next lines."""
        here = line_streams.c
        query = update(line_streams).where(
            here.run == stream.run,
            here.client == stream.client,
            here.generation == stream.generation,
        )
        async with self._database.writing() as connection:
            await connection.execute(query.values(origin=0))

    async def _require_room(self, connection: AsyncConnection, run: int) -> None:
        known = select(func.count()).where(line_streams.c.run == run)
        if (await connection.scalar(known) or 0) < self._bounds.writers_per_run:
            return
        query = (
            select(projects.c.entity, projects.c.project, runs.c.run)
            .join(projects, runs.c.project == projects.c.number)
            .where(runs.c.number == run)
        )
        path = (await connection.execute(query)).first() or ("", "", str(run))
        raise refusal(Owner("writers", run_path(*path)))

    async def claim(self, stream: LineStream) -> bool:
        """Claim the numbers up to `last_seq`, and the place of the first history line, before anything is
        queued: later lines get higher numbers, and those of another process are not taken for these,
        whatever becomes of them. False if the numbers are claimed already."""
        here = line_streams.c
        query = update(line_streams).where(
            here.run == stream.run,
            here.client == stream.client,
            here.generation == stream.generation,
            here.last_seq < stream.last_seq,
        )
        values = {
            "last_seq": stream.last_seq,
            "posted_at": stream.posted_at,
            "posted_line": stream.posted_line,
            "origin": stream.origin,
        }
        async with self._database.writing() as connection:
            return (await connection.execute(query.values(values))).rowcount == 1

    async def advance(self, stream: LineStream) -> None:
        """Store these counts; lower counts than the stored ones are ignored."""
        here = line_streams.c
        one = and_(
            here.run == stream.run,
            here.client == stream.client,
            here.generation == stream.generation,
        )
        async with self._database.writing() as connection:
            known = (
                await connection.execute(select(line_streams).where(one).with_for_update())
            ).mappings().first()  # fmt: skip
            if known is None:
                return
            values: dict[str, Any] = {
                name: max(getattr(stream, name), known[name])
                for name in ("history", "events", "console", "last_seq")
            }
            if stream.history >= known["history"]:
                values["tail"] = stream.tail
            if stream.events >= known["events"]:
                values["events_tail"] = stream.events_tail
            await connection.execute(update(line_streams).where(one).values(values))


async def _rank(connection: AsyncConnection, run: int, client: str) -> int:
    here = line_streams.c
    # Locks the assignment of this run's ranks until the transaction ends.
    await connection.execute(select(runs.c.number).where(runs.c.number == run).with_for_update())
    own = await connection.scalar(
        select(here.rank).where(here.run == run, here.client == client).limit(1)
    )
    if own is not None:
        return int(own)
    highest = await connection.scalar(select(func.max(here.rank)).where(here.run == run))
    return 0 if highest is None else int(highest) + 1
