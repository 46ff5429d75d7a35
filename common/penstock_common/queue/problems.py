"""Problems of an installation, in plain words, with what to do about them.

Any part can report one. It is listed by `/readyz`, counted in the metrics and shown on the page until
it is cleared, or has not been reported again within its time to live. So a problem disappears by
itself when its cause does, or when the process that reported it is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

__all__ = ["PROBLEMS", "Problem", "ProblemKind", "ordered", "read_problems"]


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """A kind of problem: what to do about it, and whether it stops data from being accepted and stored."""

    hint: str
    stops: bool = False


PROBLEMS = {
    "queue_unreachable": ProblemKind(
        "Start Redis, or find out why it does not answer. Clients keep their data until it does.", True
    ),
    "queue_unsafe": ProblemKind(
        "Correct the settings of Redis. Clients keep their data until then.", True
    ),
    "queue_full": ProblemKind(
        "It empties as workers catch up; if it does not, check the workers. Clients keep their "
        "data and send it later.", True
    ),
    "store_unreachable": ProblemKind(
        "Start the point store, or check its log. New data waits in the queue.", True
    ),
    "catalog_unreachable": ProblemKind(
        "Start the catalog's database, or find out why it does not answer.", True
    ),
    "queue_nearly_full": ProblemKind(
        "It empties as workers catch up; if it does not, check the workers, or give Redis more memory."
    ),
    "no_workers": ProblemKind("Start a worker: new data is queued, but not stored.", True),
    "part_down": ProblemKind("It restarts automatically; if it keeps failing, see its log.", True),
    "part_silent": ProblemKind("It is replaced automatically if it stays silent; see its log.", True),
    "worker_at_fault": ProblemKind(
        "Nothing is discarded: batches stay queued, and clients keep their copies. See the worker's "
        "log; you may have to roll back the last release.", True
    ),
    "shard_stalled": ProblemKind(
        "Batches wait, but none is stored. See the workers' logs.", True
    ),
    "writers_parked": ProblemKind(
        "Their batches cannot be processed and are kept. `penstock dead list` shows the reasons."
    ),
    "disk_low": ProblemKind("Free some space or enlarge the disk before it is full."),
    "disk_full": ProblemKind(
        "Free some space or enlarge the disk. Clients keep their data until then.", True
    ),
    "store_damaged": ProblemKind(
        "Clients automatically send again what they still hold; a backup has the rest. Check the disk."
    ),
    "queue_damaged": ProblemKind("A damaged end of the queue's file was cut off and kept next to it."),
    "catalog_damaged": ProblemKind(
        "A restart of `penstock up` saves what is readable; a backup has the rest."
    ),
    "bound_reached": ProblemKind("Log fewer keys, writers or runs, or split them over several runs."),
}  # fmt: skip
"""All kinds, by code."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem. `subject` distinguishes problems of one kind: a part, a run, a folder. `since` is in
    seconds of the epoch. If there is an `entity`, only callers who may read it may see the text."""

    code: str
    text: str
    subject: str = ""
    since: float = 0.0
    entity: str = ""

    @property
    def stops(self) -> bool:
        return PROBLEMS[self.code].stops

    def redacted(self) -> Problem:
        """The same without anything that belongs to an entity."""
        if not self.entity:
            return self
        return replace(self, text="This concerns a project or run that you cannot see.", subject="")

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "code": self.code,
            "text": self.text,
            "subject": self.subject,
            "since": self.since,
            "hint": PROBLEMS[self.code].hint,
            "stops": self.stops,
        }


def ordered(problems: Iterable[Problem]) -> list[Problem]:
    """Those that stop something first, then the oldest."""
    return sorted(problems, key=lambda each: (not each.stops, each.since, each.code, each.subject))


def read_problems(fields: Mapping[Any, Any], now: float) -> Iterable[Problem]:
    """The problems in the hash; `now` is Redis' time in seconds."""
    for field, value in fields.items():
        code, _, subject = field.decode(errors="replace").partition("/")
        try:
            since, until, text, entity = orjson.loads(value)
        except (ValueError, TypeError):
            continue
        # Another release may report kinds that this one does not know.
        if until > now and code in PROBLEMS:
            yield Problem(code, str(text), subject, float(since), str(entity))
