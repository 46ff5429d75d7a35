"""Converts a file stream request to encoded batches of points, values and records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from penstock.wire import (
    SYSTEM_RANK,
    Batch,
    DecodedSize,
    Frame,
    Limits,
    Start,
    decode_batch,
    encode_batch,
    packed,
)
from penstock.wire.records import ConsoleRecord, RunState, StateRecord, SummaryRecord
from penstock_compat.wandb.stream.lines import read_events, read_history
from penstock_compat.wandb.stream.post import Lines, Post
from penstock_compat.wandb.values import loads
from penstock_storage.contracts.interface import RunRef

__all__ = ["Numbered", "TranslatedBatches", "WriterIdentity", "make_batches"]

_POINTS = 500_000
_COMPRESSED_FROM_BYTES = 32 * 1024
_ERROR = "ERROR "


@dataclass(frozen=True, slots=True)
class WriterIdentity:
    """The batches' writer: `seq` is the number of the first one (all before it are stored), `at` the
    server's time (µs); `started`: when its process began by its own clock, if that is known."""

    ref: RunRef
    name: str
    rank: int
    seq: int
    at: int
    started: int = 0
    is_beside: bool = False
    """Whether another process logs to the run too."""

    @property
    def system_name(self) -> str:
        """The writer of the system metrics, which have their own line numbers."""
        return f"{self.name}-system"


class Numbered(NamedTuple):
    """A batch to queue."""

    writer: str
    seq: int
    raw: bytes
    decoded: DecodedSize


@dataclass(slots=True)
class TranslatedBatches:
    """Batches, and the needed values of the last lines."""

    batches: list[Numbered] = field(default_factory=list)
    tail: dict[str, Any] = field(default_factory=dict)
    events_tail: dict[str, Any] = field(default_factory=dict)
    points: int = 0
    refused: int = 0


def make_batches(post: Post, writer: WriterIdentity, limits: Limits) -> TranslatedBatches:
    """A request's batches in queue order. Pure, and slow for large requests."""
    history = read_history(post.history, limits)
    events = read_events(post.events, limits)
    made = TranslatedBatches(
        tail=history.tail, events_tail=events.tail, refused=history.refused + events.refused
    )
    system = WriterIdentity(
        writer.ref, writer.system_name, SYSTEM_RANK + writer.rank, writer.seq, writer.at,
        writer.started, writer.is_beside,
    )  # fmt: skip
    _add(made, system, events.frames(limits, _POINTS), events.values, limits)
    records = [*history.values, *_console(post.console), *_about_run(post)]
    _add(made, writer, history.frames(limits, _POINTS), records, limits)
    return made


def _add(
    made: TranslatedBatches,
    writer: WriterIdentity,
    frames: Iterable[Frame],
    records: Iterable[Any],
    limits: Limits,
) -> None:
    """Add a writer's batches, each checked with the worker's decoder."""
    for seq, part in enumerate(packed(frames, records, limits), writer.seq):
        batch = _empty(writer, seq)
        batch.frames, batch.records = part
        raw = encode_batch(batch)
        checked = decode_batch(raw, limits)
        if len(raw) > _COMPRESSED_FROM_BYTES:
            raw = encode_batch(batch, compress=True)
        made.batches.append(Numbered(writer.name, seq, raw, checked.decoded))
        made.points += checked.points


def _empty(writer: WriterIdentity, seq: int) -> Batch:
    return Batch(
        project=writer.ref.project,
        run=writer.ref.run,
        writer=writer.name,
        seq=seq,
        writer_started=writer.started or writer.at,
        entity=writer.ref.entity,
        rank=writer.rank,
        # The client sends the next lines only after the last ones were acknowledged.
        acked=seq - 1,
        sent_at=writer.at,
        client={"library": "wandb"},
        start=Start("beside") if writer.is_beside else Start(),
    )


def _console(files: Iterable[Lines]) -> Iterator[ConsoleRecord]:
    for lines in files:
        for at, line in enumerate(lines.content, lines.offset):
            yield _console_record(at, line)


def _console_record(at: int, line: str) -> ConsoleRecord:
    """`[ERROR ]ISO time␠text`; any other line is text as a whole."""
    rest = line.removeprefix(_ERROR)
    stamp, _, text = rest.partition(" ")
    try:
        time = datetime.fromisoformat(stamp)
    except ValueError:
        time, text = None, line
    if time is not None and time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return {
        "t": "console",
        "line": at,
        "stream": "stderr" if rest is not line and len(rest) != len(line) else "stdout",
        "text": text,
        "time": 0 if time is None else max(0, int(time.timestamp() * 1e6)),
    }


def _about_run(post: Post) -> Iterator[SummaryRecord | StateRecord]:
    if post.summary is not None:
        try:
            summary = loads(post.summary)
        except (ValueError, RecursionError):
            summary = None
        if isinstance(summary, dict):
            yield {"t": "summary", "update": summary, "whole": not post.is_shared}
    if post.is_preempting:
        yield {"t": "state", "state": "preempting"}
    if post.exit_code is not None:
        state: RunState = "finished" if post.exit_code == 0 else "failed"
        yield {"t": "state", "state": state, "exit_code": post.exit_code}
