"""Translates a request's body to batches; pure, so that it can run in a separate process."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from penstock.error_codes import ErrorCode
from penstock.errors import Transient
from penstock.wire import Limits
from penstock_compat.wandb.stream.batches import TranslatedBatches, WriterIdentity, make_batches
from penstock_compat.wandb.stream.lines import origin_of
from penstock_compat.wandb.stream.post import Lines, Post, parse_post
from penstock_storage.catalog.runs.line_streams import LineStream
from penstock_storage.contracts.interface import RunRef

__all__ = ["Candidate", "Request", "Translated", "UnknownProcess", "translate", "writer_name"]

_SEQ_US = 10_000  # numbers count hundredths of a second: 497 days fit into 32 bits
_MAX_SEQ = 2**32 - 100_000
_ANOTHER_PROCESS_US = 2_000_000
"""Lines that differ by this much in when their process began come rather from another one."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A generation that the lines may continue; all numbers up to `committed` are stored."""

    stream: LineStream
    committed: int


@dataclass(frozen=True, slots=True)
class Request:
    """A request without its body. `candidates` are the client's own generations, newest first; `at`
    is the server's time (µs)."""

    ref: RunRef
    candidates: Sequence[Candidate]
    at: int
    is_shared: bool = False


class UnknownProcess(Exception):
    """The lines come from a process that none of the candidates stands for: it needs a generation of its
    own, in which its lines begin at `offset`."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


@dataclass(slots=True)
class Translated:
    """The batches to queue, and the stream's state once they are stored."""

    made: TranslatedBatches
    stream: LineStream
    missing: int = 0
    """Lines that the client numbered but that never arrived."""
    lines: tuple[int, int, int] = (0, 0, 0)
    """For history, events and console."""


def translate(body: bytes, request: Request, limits: Limits) -> Translated:
    """Raises `Rejected` if this is not a file stream request, `UnknownProcess` if no candidate fits."""
    post = parse_post(body)
    post.is_shared = request.is_shared or any(each.stream.beside for each in request.candidates)
    chosen = _pick(request.candidates, post.history)
    if chosen is None:
        raise UnknownProcess(post.history.offset)
    stream = chosen.stream
    stream.origin = stream.origin or origin_of(post.history)
    if post.is_heartbeat:
        return Translated(TranslatedBatches(), stream)
    by_time = (request.at - stream.generation) // _SEQ_US + 1
    seq = max(by_time, stream.last_seq + 1, chosen.committed + 1)
    if seq > _MAX_SEQ:
        raise Transient("this run has been logged to for too long", code=ErrorCode.OVERLOADED)
    writer = WriterIdentity(
        request.ref, writer_name(stream), stream.rank, seq, request.at, stream.origin, stream.beside
    )
    made = make_batches(post, writer, limits)
    missing = _advance(stream, post, made)
    stream.last_seq = max((each.seq for each in made.batches), default=stream.last_seq)
    console = sum(len(lines.content) for lines in post.console)
    lines = (len(post.history.content), len(post.events.content), console)
    return Translated(made, stream, missing, lines)


def writer_name(stream: LineStream) -> str:
    """The writer's name for a client's generation."""
    client = f"-{stream.client}" if stream.client else ""
    return f"wandb-{stream.generation:x}{client}"


def _pick(candidates: Sequence[Candidate], lines: Lines) -> Candidate | None:
    """The generation that these history lines continue; None if they need one of their own.

    The client does not say which process it is, and several may log to one run. The offsets tell: each
    one's lines continue where its last ones ended, or are the last ones again. Only where that fits two
    does it matter when their processes began: a line says that too early if its row was complete only
    later, so it is no proof.

    A generation that was just begun gets the first line 0 that comes, even if an earlier one has the same
    line: a folder that is synced again must not go on with an attempt that its own has replaced, whose end
    nobody would hear. Lines that an earlier process repeats just then are stored twice, at the same steps.
    """
    if not lines.content or (lines.offset == 0 and candidates[0].stream.awaits_first_line):
        return candidates[0]
    again = [each for each in candidates if _is_repeat(each.stream, lines)]
    # What was posted last may not be stored and counted yet: those that follow it come later.
    going_on = [
        each
        for each in candidates
        if each.stream.history == lines.offset and each.stream.posted_at < lines.offset
    ]
    if len(going_on) > 1:
        origin = origin_of(lines)
        going_on.sort(key=lambda each: _distance(each.stream.origin, origin))
    with_a_gap = [each for each in candidates[:1] if each.stream.history < lines.offset]
    return next(iter(again + going_on + with_a_gap), None)


def _is_repeat(stream: LineStream, lines: Lines) -> bool:
    """Whether the client sends its last lines again, perhaps with more."""
    known = stream.posted_line
    return stream.posted_at == lines.offset and known in (0, _fingerprint(lines))


def _distance(one: int, other: int) -> int:
    return abs(one - other) if one and other else _ANOTHER_PROCESS_US


def _fingerprint(lines: Lines) -> int:
    """Of the first line, which has the time; never 0."""
    return zlib.crc32(lines.content[0].encode(errors="replace")) + 1


def _advance(stream: LineStream, post: Post, made: TranslatedBatches) -> int:
    """Advance the stream's counts; returns the number of history lines that never arrived."""
    missing = 0
    if post.history.content:
        missing = max(0, post.history.offset - stream.history)
        stream.history = max(stream.history, post.history.end)
        stream.posted_at, stream.posted_line = post.history.offset, _fingerprint(post.history)
        stream.tail = made.tail or stream.tail
    if post.events.content:
        stream.events = max(stream.events, post.events.end)
        stream.events_tail = made.events_tail or stream.events_tail
    for lines in post.console:
        stream.console = max(stream.console, lines.end)
    return missing
