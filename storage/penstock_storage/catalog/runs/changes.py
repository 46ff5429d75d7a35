"""Applies changes to a run's row in the order in which the server hears of them. Pure.

Within a writer, positions (seq, index) decide, so the order of its batches and repeats do not matter.
Between writers, and for edits, what is heard later counts later, field by field: of every field, and
every top-level key of config, summary and info, the row remembers who set it last. No clock decides.

A change counts as heard now only if its position is above all earlier ones of its writer, and if it
is not `late`: repeats, replayed dead letters, and attempts that a later one has resumed set only what
nobody else has set, and so does the state that a rank above 0 reports. A change of a whole section removes the keys that it does not have. A generated
name never replaces a given one, and the first generated name is kept: a job that is restarted does not
rename its run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from penstock.wire.run_fields import PLAIN_FIELDS, FieldShape
from penstock_storage.catalog.runs.folded import put_together
from penstock_storage.catalog.runs.heard import Turn, turn_of
from penstock_storage.contracts.interface import RunChange

__all__ = ["SILENT", "apply_change", "revive"]

Row = dict[str, Any]

SILENT = "silent"
"""In `info` of a run that was marked crashed for lack of signs of life."""

_RULES = "define_metric"
_SECTIONS = ("config", "summary")
_WHOLES = {f"{section}_whole": section for section in _SECTIONS}
_MADE_UP_NAME = "default_name"
_RANK_STATE = "rank_state"


def apply_change(row: Row, change: RunChange) -> None:
    """Apply one change to a run's row, in place. Invalid parts of it are ignored.

    `row` has the columns of the table `runs` by name. Raises `ValueError` for an unknown kind.
    """
    turn = turn_of(change, row["heard"])
    if change.kind in _WHOLES:
        _replace(row, _WHOLES[change.kind], change.update, turn)
    elif change.kind == "summary_fold":
        _fold(row, change.update, turn)
    elif change.kind == "logged":
        _forget_edited(row, change.update, turn)
    elif change.kind != _RANK_STATE or turn.is_left_to("state", _RANK_STATE):
        for path, value in _assignments(change):
            _assign(row, path, value, turn)
            if change.kind == _RANK_STATE and path == ("state",):
                turn.note(_RANK_STATE)


def _assign(row: Row, path: tuple[str, ...], value: Any, turn: Turn) -> None:
    slot = "/".join(path)
    if path == (_MADE_UP_NAME,):
        if not turn.is_first("name", _MADE_UP_NAME):
            return
        path = ("name",)
    elif not turn.wins(slot, *(path[:1] if path[0] in _SECTIONS else ())):
        return
    turn.note(slot)
    if path == ("state",):  # the run's own state wins over a guess from its silence
        revive(row)
    *parents, last = path
    target = row
    for parent in parents:
        target = target.setdefault(parent, {})
    target[last] = value


def _replace(row: Row, section: str, whole: dict[str, Any], turn: Turn) -> None:
    """Replace a section, except for keys that were set by later changes."""
    if not turn.wins(section):
        return
    turn.note(section)
    later = {}
    for key, value in row[section].items():
        slot = f"{section}/{key}"
        if turn.wins(slot):
            turn.forget(slot)
        else:
            later[key] = value
    row[section] = {**whole, **later}


def _fold(row: Row, figures: dict[str, Any], turn: Turn) -> None:
    """Combine a writer's folded summary with those of other writers."""
    summary = row["summary"]
    for key, each in figures.items() if turn.wins("summary") else ():
        slot = f"summary/{key}"
        is_newer = turn.wins(slot)
        summary[key] = put_together(
            summary.get(key), each["value"], each["ways"], is_newer=is_newer
        )
        if is_newer:
            turn.note(slot)


def _forget_edited(row: Row, logged: dict[str, Any], turn: Turn) -> None:
    """These keys are logged again: what an edit said of them counts no longer."""
    for key in logged.keys() & row["summary"].keys():
        slot = f"summary/{key}"
        if turn.is_after_edit(slot, "summary"):
            del row["summary"][key]
            turn.forget(slot)


def revive(row: Row) -> None:
    """The run is alive again: it no longer counts as crashed for its silence."""
    row["silent"] = False
    row["info"].pop(SILENT, None)


def _assignments(change: RunChange) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The target of each value of a change: a column, or a key in one."""
    update = change.update
    match change.kind:
        case "config" | "summary":
            for key, value in update.items():
                yield (change.kind, key), value
        case "state" | "rank_state":
            if "state" in update:
                yield ("state",), str(update["state"])
            if "exit_code" in update:
                yield ("info", "exit_code"), update["exit_code"]
        case "run":
            for name, value in update.items():
                yield from _run_assignment(name, value)
        case "define_metric":
            rule = {name: value for name, value in update.items() if name != "name"}
            yield ("info", _RULES, str(update.get("name", ""))), rule
        case _:
            raise ValueError(f"a run cannot be changed by a {change.kind!r}")


def _run_assignment(name: str, value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    field = PLAIN_FIELDS.get("name" if name == _MADE_UP_NAME else name)
    if field is not None and field.shape is FieldShape.TEXTS:
        texts = value if isinstance(value, list | tuple) else [] if value is None else [value]
        yield (name,), [str(text) for text in texts]
    elif field is not None:
        # PostgreSQL cannot store a NUL in text, and no name needs one.
        yield (name,), "" if value is None else str(value).replace("\0", "")
    elif not name.startswith(_RULES):
        yield ("info", name), value
