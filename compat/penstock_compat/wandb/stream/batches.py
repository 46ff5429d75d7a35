"""A file stream request into encoded batches: what it logs, and what it says of its run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from penstock.wire import SYSTEM_RANK, Batch, Frame, Limits, encode_batch
from penstock_compat.wandb.stream.lines import read_events, read_history
from penstock_compat.wandb.stream.post import Lines, Post
from penstock_compat.wandb.values import loads
from penstock_storage.interface import RunRef

__all__ = ["Made", "Writer", "make_batches"]

_POINTS = 500_000
_RECORDS = 20_000
_FRAMES = 2_000
_ELEMENTS = 400_000
_TEXT_BYTES = 16 * 2**20
_COMPRESSED_FROM_BYTES = 32 * 1024
_ERROR = "ERROR "


@dataclass(frozen=True, slots=True)
class Writer:
    """In whose name the batches are: `seq` is the number of the first one, all before it are done,
    `at` the server's time (µs)."""

    ref: RunRef
    name: str
    rank: int
    seq: int
    at: int

    @property
    def system_name(self) -> str:
        """The writer of the machine's own metrics, which count their own lines."""
        return f"{self.name}-system"


@dataclass(slots=True)
class Made:
    """Batches as (writer, number, bytes), and what is needed of the last lines."""

    batches: list[tuple[str, int, bytes]] = field(default_factory=list)
    tail: dict[str, Any] = field(default_factory=dict)
    events_tail: dict[str, Any] = field(default_factory=dict)
    points: int = 0
    refused: int = 0


def make_batches(post: Post, writer: Writer, limits: Limits) -> Made:
    """All of a request, in the order in which it is to be queued. Pure, and slow for large ones."""
    history = read_history(post.history, limits)
    events = read_events(post.events, limits)
    made = Made(
        tail=history.tail, events_tail=events.tail, refused=history.refused + events.refused
    )
    system = Writer(
        writer.ref, writer.system_name, SYSTEM_RANK + writer.rank, writer.seq, writer.at
    )
    for batch in _batches(system, events.frames(limits, _POINTS), events.values):
        _add(made, batch)
    records = [*history.values, *_console(post.console), *_about_run(post)]
    for batch in _batches(writer, history.frames(limits, _POINTS), records):
        _add(made, batch)
    return made


def _add(made: Made, batch: Batch) -> None:
    raw = encode_batch(batch)
    if len(raw) > _COMPRESSED_FROM_BYTES:
        raw = encode_batch(batch, compress=True)
    made.batches.append((batch.writer, batch.seq, raw))
    made.points += batch.points


def _batches(
    writer: Writer, frames: Iterable[Frame], records: Iterable[dict[str, Any]]
) -> Iterator[Batch]:
    """Frames first, then records, in as many batches as the limits ask for."""
    seq = writer.seq
    batch = _empty(writer, seq)
    points = elements = size = 0

    def is_full(more_points: int, more_elements: int, more_bytes: int) -> bool:
        return bool(batch.frames or batch.records) and (
            points + more_points > _POINTS
            or elements + more_elements > _ELEMENTS
            or size + more_bytes > _TEXT_BYTES
            or len(batch.frames) >= _FRAMES
            or len(batch.records) >= _RECORDS
        )

    for frame in frames:
        weight = (frame.points, len(frame.keys) + 8, len(frame.values))
        if is_full(*weight):
            yield batch
            seq, points, elements, size = seq + 1, 0, 0, 0
            batch = _empty(writer, seq)
        batch.frames.append(frame)
        points, elements, size = points + weight[0], elements + weight[1], size + weight[2]
    for record in records:
        weight = (0, _count(record), _size(record))
        if is_full(*weight):
            yield batch
            seq, points, elements, size = seq + 1, 0, 0, 0
            batch = _empty(writer, seq)
        batch.records.append(record)
        elements, size = elements + weight[1], size + weight[2]
    if batch.frames or batch.records:
        yield batch


def _empty(writer: Writer, seq: int) -> Batch:
    return Batch(
        project=writer.ref.project,
        run=writer.ref.run,
        writer=writer.name,
        seq=seq,
        writer_started=writer.at,
        entity=writer.ref.entity,
        rank=writer.rank,
        # The client sends the next lines only once the last ones were acknowledged.
        acked=seq - 1,
        sent_at=writer.at,
        client={"library": "wandb"},
    )


def _count(record: dict[str, Any]) -> int:
    update = record.get("update")
    return len(record) + (_elements(update) if isinstance(update, dict) else 0)


def _elements(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_elements, value.values()))
    if isinstance(value, list):
        return len(value) + sum(map(_elements, value))
    return 1


def _size(record: dict[str, Any]) -> int:
    return len(record.get("json", "")) + len(record.get("text", "")) + 32


def _console(files: Iterable[Lines]) -> Iterator[dict[str, Any]]:
    for lines in files:
        for at, line in enumerate(lines.content, lines.offset):
            yield _console_record(at, line)


def _console_record(at: int, line: str) -> dict[str, Any]:
    """`[ERROR ]ISO time␠text`; a line that is otherwise is text as a whole."""
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


def _about_run(post: Post) -> Iterator[dict[str, Any]]:
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
        state = "finished" if post.exit_code == 0 else "failed"
        yield {"t": "state", "state": state, "exit_code": post.exit_code}
