"""Applies changes to a run's row, with the same result in any order and with any repeats. Pure.

Every field, and every top-level key of config, summary and info, remembers the (started, seq, index)
that set it, and only a greater one sets it again. A change of a whole section removes the keys that it
does not have. A generated name never replaces a given one, and the first generated name is kept: a job
that is restarted does not rename its run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from penstock_storage.catalog.runs.folded import put_together
from penstock_storage.contracts.interface import RunChange

__all__ = ["SILENT", "apply_change", "revive"]

Row = dict[str, Any]

SILENT = "silent"
"""In `info` of a run that was marked crashed for lack of signs of life."""

_RULES = "define_metric"
_SECTIONS = ("config", "summary")
_WHOLES = {f"{section}_whole": section for section in _SECTIONS}
_MADE_UP_NAME = "default_name"
_TEXT_FIELDS = frozenset({"name", "group", "job_type", "notes"})


def apply_change(row: Row, change: RunChange) -> None:
    """Apply one change to a run's row, in place. Invalid parts of it are ignored.

    `row` has the columns of the table `runs` by name. Raises `ValueError` for an unknown kind.
    """
    given = [change.started, change.seq, change.index]
    if change.kind in _WHOLES:
        _replace(row, _WHOLES[change.kind], change.update, given)
        return
    if change.kind == "summary_fold":
        _fold(row, change.update, given)
        return
    made_up = [-each for each in given]
    versions: dict[str, list[int]] = row["versions"]
    for path, value in _assignments(change):
        version = given
        if path == (_MADE_UP_NAME,):
            path, version = ("name",), made_up
        slot = "/".join(path)
        whole = versions.get(change.kind, []) if change.kind in _SECTIONS else []
        if version <= max(versions.get(slot, []), whole):
            continue
        versions[slot] = version
        if path == ("state",):  # the run's own state wins over a guess from its silence
            revive(row)
        *parents, last = path
        target = row
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value


def _replace(row: Row, section: str, whole: dict[str, Any], version: list[int]) -> None:
    """Replace a section, except for keys that were set by later changes."""
    versions: dict[str, list[int]] = row["versions"]
    if version <= versions.get(section, []):
        return
    versions[section] = version
    later = {}
    for key, value in row[section].items():
        if versions.get(f"{section}/{key}", []) > version:
            later[key] = value
        else:
            versions.pop(f"{section}/{key}", None)
    row[section] = {**whole, **later}


def _fold(row: Row, figures: dict[str, Any], version: list[int]) -> None:
    """Combine a writer's folded summary with those of other writers."""
    summary, versions = row["summary"], row["versions"]
    for key, each in figures.items():
        slot = f"summary/{key}"
        if version <= versions.get("summary", []):
            continue
        is_newer = version > versions.get(slot, [])
        found = put_together(summary.get(key), each["value"], each["ways"], is_newer=is_newer)
        if is_newer or found != summary.get(key):
            summary[key] = found
            versions[slot] = max(version, versions.get(slot, []))


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
        case "state":
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
    if name in _TEXT_FIELDS or name == _MADE_UP_NAME:
        # PostgreSQL cannot store a NUL in text, and no name needs one.
        yield (name,), "" if value is None else str(value).replace("\0", "")
    elif name == "tags":
        tags = value if isinstance(value, list | tuple) else [] if value is None else [value]
        yield (name,), [str(tag) for tag in tags]
    elif not name.startswith(_RULES):
        yield ("info", name), value
