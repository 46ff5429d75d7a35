"""Turns JSON rows, as sent with curl, into batches. Slower than msgpack columns.

Numbers become points; strings, booleans, null, lists and objects become values. `"NaN"`,
`"Infinity"` and `"-Infinity"` are numbers, since JSON cannot express them otherwise.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import orjson

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock.wire import (
    MAX_STEP,
    Batch,
    DecodedSize,
    Frame,
    Limits,
    check_key,
    check_name,
    decode_batch,
    encode_batch,
    packed,
)
from penstock.wire.field_types import Choice
from penstock.wire.numbers import NOT_FINITE
from penstock.wire.records import STATES

__all__ = ["EncodedBatch", "batches_from_json", "json_size"]

_FIELDS = frozenset(
    {"entity", "project", "run", "rows", "config", "summary", "state", "name", "tags"}
)
_MAX_DEPTH = 100
_ELEMENTS = 4
"""A body may hold this many times the elements of one batch: most of its numbers become columns."""


def json_size(body: bytes, limits: Limits) -> DecodedSize:
    """An upper bound for the size of a JSON body once parsed, found without parsing it.

    Raises `Rejected` (413) if that is too much.
    """
    # Each entry of a list or object except the first follows a comma.
    elements = body.count(b",") + 2 * (body.count(b"[") + body.count(b"{"))
    allowed = _ELEMENTS * limits.elements
    if elements > allowed:
        raise _too_many(elements, allowed, "values, objects and lists")
    return DecodedSize(len(body), elements)


class EncodedBatch(NamedTuple):
    """A batch: its bytes for the queue, and its decoded form as the worker will read it."""

    batch: Batch
    raw: bytes


def batches_from_json(body: bytes, limits: Limits) -> list[EncodedBatch]:
    """The batches of a JSON body, usually one; the queue sets their writer and numbers.

    Raises `Rejected` with a message that names the row and field.
    """
    fields = _parse(body)
    unknown = sorted(set(fields) - _FIELDS)
    if unknown:
        raise _bad(f"unknown fields: {', '.join(map(repr, unknown[:5]))}")
    rows = fields.get("rows", [])
    if not isinstance(rows, list):
        raise _bad("rows must be a list of objects")
    now = time.time_ns() // 1000
    frames, records = _frames_and_values(rows, now, limits)
    records += _run_records(fields)
    if not frames and not records:
        raise _bad("the body is empty: no rows, config, summary or state")
    empty = Batch(
        project=check_name("project", fields.get("project"), limits),
        run=check_name("run", fields.get("run"), limits),
        writer="http",
        writer_started=now,
        seq=1,
        entity=_entity(fields, limits),
        sent_at=now,
    )
    made = []
    for part in packed(frames, records, limits):
        raw = encode_batch(replace(empty, frames=part.frames, records=part.records))
        made.append(EncodedBatch(decode_batch(raw, limits), raw))
    return made


def _parse(body: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Rejected(
            f"the body is not valid JSON: {error}",
            code=ErrorCode.BAD_JSON,
            hint=ErrorCode.BAD_ROWS.hint,
        ) from None
    if not isinstance(fields, dict):
        raise _bad("the body must be an object")
    _check_depth(fields)
    return fields


def _check_depth(fields: dict[str, Any]) -> None:
    """Raises `Rejected` if it is nested too deeply for some reader."""
    level: list[Any] = [fields]
    for _ in range(_MAX_DEPTH):
        level = [
            value
            for each in level
            for value in (each.values() if isinstance(each, dict) else each)
            if isinstance(value, dict | list)
        ]
        if not level:
            return
    raise _bad(f"the body is nested deeper than {_MAX_DEPTH} levels")


def _entity(fields: dict[str, Any], limits: Limits) -> str | None:
    entity = fields.get("entity")
    return None if entity is None else check_name("entity", entity, limits)


def _run_records(fields: dict[str, Any]) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for kind in ("config", "summary"):
        update = fields.get(kind)
        if update is not None:
            if not isinstance(update, dict):
                raise _bad(f"{kind} must be an object")
            records.append({"t": kind, "update": update})
    about = {name: fields[name] for name in ("name", "tags") if fields.get(name) is not None}
    if not isinstance(about.get("name", ""), str):
        raise _bad("name must be a string")
    tags = about.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise _bad("tags must be a list of strings")
    if about:
        records.append({"t": "run", **about})
    state = fields.get("state")
    if state is not None:
        if state not in STATES:
            raise _bad(f"state must be {Choice(STATES).words}")
        records.append({"t": "state", "state": state})
    return records


def _frames_and_values(
    rows: list[Any], now: int, limits: Limits
) -> tuple[list[Frame], list[dict[str, Any]]]:
    columns: dict[tuple[str, ...], list[tuple[int, int, list[float | int]]]] = {}
    values: list[dict[str, Any]] = []
    for index, row in enumerate(rows):
        step, at, numbers, others = _row(index, row, now, limits)
        if numbers:
            columns.setdefault(tuple(numbers), []).append((step, at, list(numbers.values())))
        for key, value in others.items():
            kind, text = _kind(value), orjson.dumps(value).decode()
            values.append(
                {"t": "value", "key": key, "step": step, "time": at, "kind": kind, "json": text}
            )
    return [_frame(list(keys), taken) for keys, taken in columns.items()], values


def _row(
    index: int, row: object, now: int, limits: Limits
) -> tuple[int, int, dict[str, float | int], dict[str, object]]:
    where = f"rows[{index}]"
    if not isinstance(row, dict):
        raise _bad(f"{where} must be an object")
    step = row.get("step")
    if not isinstance(step, int) or isinstance(step, bool) or abs(step) >= MAX_STEP:
        raise _bad(f"{where}.step must be an integer strictly between -2^53 and 2^53")
    numbers: dict[str, float | int] = {}
    others: dict[str, object] = {}
    for key, value in _flat(row):
        if key in ("step", "_timestamp"):
            continue
        check_key(where, key, limits)
        number = NOT_FINITE.get(value, value) if isinstance(value, str) else value
        if isinstance(number, int | float) and not isinstance(number, bool):
            numbers[key] = number
        else:
            others[key] = value
    return step, _time(where, row.get("_timestamp"), now), numbers, others


def _flat(row: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested objects as dotted keys, as W&B's own charts name them."""
    for key, value in row.items():
        if isinstance(value, dict) and value and "_type" not in value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _time(where: str, seconds: object, now: int) -> int:
    if seconds is None:
        return now
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e12:
        raise _bad(f"{where}._timestamp must be Unix seconds")
    return round(seconds * 1e6)


def _frame(keys: list[str], rows: list[tuple[int, int, list[float | int]]]) -> Frame:
    count = len(rows)
    by_key = list(zip(*(numbers for _, _, numbers in rows), strict=True))
    return Frame(
        keys,
        struct.pack(f"<{count}q", *(step for step, _, _ in rows)),
        struct.pack(f"<{count}q", *(at for _, at, _ in rows)),
        b"".join(struct.pack(f"<{count}d", *column) for column in by_key),
        bytes(all(isinstance(value, int) for value in column) for column in by_key),
    )


def _kind(value: object) -> str:
    if isinstance(value, dict) and isinstance(value.get("_type"), str):
        return str(value["_type"])[:32]
    names = {str: "string", bool: "bool", type(None): "null", list: "list"}
    return names.get(type(value), "dict")


def _bad(message: str) -> Rejected:
    return Rejected(message, code=ErrorCode.BAD_ROWS)


def _too_many(got: int, allowed: int, what: str) -> Rejected:
    return Rejected(
        f"{got} {what}, at most {allowed} are accepted",
        code=ErrorCode.TOO_LARGE,
        hint="Send them in several requests.",
    )
