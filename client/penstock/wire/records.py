"""Records: the fields of each kind, their types and bounds, and where a worker keeps what they say.

This is the only declaration of records; those of a run's own fields come from `penstock.wire.run_fields`. The
gateway refuses a batch with an invalid record (`problem_of`). Clients and endpoints cut values to fit it
before they number a batch (`penstock.wire.fitting`); so does the worker with batches queued by older versions.
docs/wire.md shows it as a table.

A record is a plain map, also in Python: its class tells the type checker which fields it has. So unknown fields
stay, and unknown kinds are accepted as long as they are plain, so that a newer client works with an older
server.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    TypedDict,
    TypeGuard,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from penstock.wire.field_types import (
    MAX_DEPTH,
    MAX_FIELD_CHARS,
    MAX_NAME_CHARS,
    MAX_TEXT_CHARS,
    Choice,
    Field,
    Flag,
    Integer,
    JsonText,
    KeyName,
    Map,
    Text,
    is_plain,
)
from penstock.wire.limits import MAX_STEP
from penstock.wire.run_fields import PLAIN_FIELDS, RUN_FACTS

__all__ = [
    "RECORDS",
    "RECORD_HOMES",
    "STATES",
    "STATE_KINDS",
    "AlertRecord",
    "ConfigRecord",
    "ConsoleRecord",
    "DefineMetricRecord",
    "RankStateRecord",
    "Record",
    "RecordHome",
    "RunChangeRecord",
    "RunRecord",
    "RunState",
    "StateRecord",
    "SummaryRecord",
    "ValueRecord",
    "is_run_change",
    "kind_of",
    "known_records",
    "problem_of",
]

_MAX_CODE = 2**32
_INT64 = 2**63

RunState = Literal["running", "finished", "failed", "crashed", "preempting"]
STATES: tuple[str, ...] = get_args(RunState)
STATE_KINDS = frozenset({"state", "rank_state"})
"""The kinds of records that set a run's state."""


@dataclass(frozen=True, slots=True)
class _Fallback:
    """What replaces an invalid stored value of a required field."""

    value: int | str


_NAME = Text(MAX_NAME_CHARS)
_STEP = Integer(1 - MAX_STEP, MAX_STEP - 1, "int strictly between -2^53 and 2^53")
_TIME = Integer(0, _INT64 - 1, "int, µs since 1970 UTC")
_ALERT_TIME = Integer(0, MAX_STEP - 1, "int below 2^53, µs since 1970 UTC")
_RISING = Integer(0, _INT64 - 1, "int from 0")
_CODE = Integer(-_MAX_CODE, _MAX_CODE, "int from -2^32 to 2^32")


class RunRecord(TypedDict):
    """Sets the run's own fields (see `PLAIN_FIELDS`) and entries of its `info` (see `RUN_FACTS`)."""

    t: Literal["run"]
    default_name: NotRequired[Annotated[str, _NAME]]
    """Yields to any given name."""


class ConfigRecord(TypedDict):
    """Updates the config; replaces all of it if `whole`."""

    t: Literal["config"]
    update: Annotated[dict[str, Any], Map()]
    whole: NotRequired[Annotated[bool, Flag()]]


class SummaryRecord(TypedDict):
    """Updates the summary; replaces all of it if `whole`. `fold`: how to combine a key's aggregates of
    several writers."""

    t: Literal["summary"]
    update: Annotated[dict[str, Any], Map()]
    whole: NotRequired[Annotated[bool, Flag()]]
    fold: NotRequired[Annotated[dict[str, Any], Map()]]


class StateRecord(TypedDict):
    """Sets the run's state."""

    t: Literal["state"]
    state: Annotated[RunState, Choice(STATES)]
    exit_code: NotRequired[Annotated[int, _CODE]]


class RankStateRecord(TypedDict):
    """Sets the run's state unless another writer has set it: said by ranks above 0, in case that no rank 0
    takes part."""

    t: Literal["rank_state"]
    state: Annotated[RunState, Choice(STATES)]
    exit_code: NotRequired[Annotated[int, _CODE]]


class ValueRecord(TypedDict):
    """A value that is not a number, of one key at one step."""

    t: Literal["value"]
    key: Annotated[str, KeyName()]
    step: Annotated[int, _STEP]
    time: Annotated[int, _TIME, _Fallback(0)]
    kind: Annotated[str, _NAME, _Fallback("other")]
    json: Annotated[str, JsonText()]


class ConsoleRecord(TypedDict):
    """A line of console output."""

    t: Literal["console"]
    line: Annotated[int, _RISING]
    stream: Annotated[str, _NAME, _Fallback("stdout")]
    time: Annotated[int, _TIME, _Fallback(0)]
    text: Annotated[str, Text()]


class DefineMetricRecord(TypedDict):
    """A rule for a metric, or for all whose names match a pattern."""

    t: Literal["define_metric"]
    name: NotRequired[Annotated[str, _NAME]]
    step_metric: NotRequired[Annotated[str, _NAME]]
    step_sync: NotRequired[Annotated[bool, Flag()]]
    hidden: NotRequired[Annotated[bool, Flag()]]
    summary: NotRequired[Annotated[str, _NAME]]
    goal: NotRequired[Annotated[str, _NAME]]
    overwrite: NotRequired[Annotated[bool, Flag()]]


class AlertRecord(TypedDict):
    """A message from the training script to people."""

    t: Literal["alert"]
    time: Annotated[int, _ALERT_TIME, _Fallback(0)]
    title: NotRequired[Annotated[str, Text()]]
    text: NotRequired[Annotated[str, Text()]]
    level: NotRequired[Annotated[str, _NAME]]


RunChangeRecord = (
    RunRecord | ConfigRecord | SummaryRecord | StateRecord | RankStateRecord | DefineMetricRecord
)
Record = RunChangeRecord | ValueRecord | ConsoleRecord | AlertRecord


class RecordHome(Enum):
    """Where a worker keeps what a record says."""

    RUN = "a change of the run, in the catalog"
    VALUES = "a row of the values, in the point store"
    CONSOLE = "a row of the console output, in the point store"


_KINDS: list[tuple[type, RecordHome]] = [
    (RunRecord, RecordHome.RUN),
    (ConfigRecord, RecordHome.RUN),
    (SummaryRecord, RecordHome.RUN),
    (StateRecord, RecordHome.RUN),
    (RankStateRecord, RecordHome.RUN),
    (ValueRecord, RecordHome.VALUES),
    (ConsoleRecord, RecordHome.CONSOLE),
    (DefineMetricRecord, RecordHome.RUN),
    (AlertRecord, RecordHome.VALUES),
]


def _declared(record: type) -> tuple[str, dict[str, Field]]:
    """A class's kind, and its fields besides `t`."""
    hints = get_type_hints(record, include_extras=True)
    (kind,) = get_args(hints.pop("t"))
    fields = {}
    for name, hint in hints.items():
        is_required = get_origin(hint) is not NotRequired
        annotated = hint if is_required else get_args(hint)[0]
        fitting, *fallback = annotated.__metadata__
        fields[name] = Field(fitting, is_required, *(each.value for each in fallback))
    return kind, fields


RECORDS: dict[str, dict[str, Field]] = dict(_declared(record) for record, _ in _KINDS)
"""The kinds of records, and their fields besides `t`."""

RECORDS["run"] = {
    **{name: Field(field.record) for name, field in PLAIN_FIELDS.items()},
    **RECORDS["run"],
    **{name: Field(fact.record) for name, fact in RUN_FACTS.items()},
}

RECORD_HOMES: dict[str, RecordHome] = dict(zip(RECORDS, (home for _, home in _KINDS), strict=True))

_CHECKS = {
    kind: [(name, field.type.fits, field.required) for name, field in fields.items()]
    for kind, fields in RECORDS.items()
}


def kind_of(record: Any) -> str | None:
    """The kind of a record, known or not; None if it is not a record."""
    kind = record.get("t") if type(record) is dict else None
    return kind if type(kind) is str and len(kind) <= MAX_FIELD_CHARS else None


def known_records(records: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    """Those among checked records whose kind this version knows, as their types."""
    return (cast("Record", record) for record in records if kind_of(record) in RECORDS)


def is_run_change(record: Record) -> TypeGuard[RunChangeRecord]:
    """Whether this record changes the run in the catalog."""
    return RECORD_HOMES[record["t"]] is RecordHome.RUN


def problem_of(record: Any) -> str | None:
    """The problem with a record, as the end of a sentence; None if there is none."""
    kind = kind_of(record)
    if kind is None:
        return f" must be a map with t, the kind of the record, of at most {MAX_FIELD_CHARS} characters"
    known = 1
    for name, fits, required in _CHECKS.get(kind, ()):
        value = record.get(name)
        if value is None:
            if required:
                return f".{name} must be {RECORDS[kind][name].type.words}"
            known += name in record
        elif fits(value):
            known += 1
        else:
            return f".{name} must be {RECORDS[kind][name].type.words}"
    # Only undeclared fields are left to check: usually none.
    if known < len(record) and not is_plain(
        {name: value for name, value in record.items() if name not in RECORDS.get(kind, ())}
    ):
        return (
            " must be plain: strings, numbers, booleans, null, lists and maps with string keys,"
            f" at most {MAX_DEPTH} levels deep, strings of {MAX_TEXT_CHARS:,} characters"
        )
    return None
