"""The last position of each of a run's writers, and who set each of its fields last. Pure.

Stored with the run, as JSON: `{"writers": {writer: [n, seq, index], …}, "set": {slot: [n, seq, index], …}}`.
A writer has a number `n` and its highest position so far. An edit, which comes from no
writer, has the number -1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock_storage.contracts.interface import RunChange

__all__ = ["EDIT", "Turn", "edited_keys", "heard_before", "turn_of"]

EDIT = -1

_MADE_UP_NAME = "default_name"

Position = list[int]
"""[seq, index]"""


@dataclass(frozen=True, slots=True)
class Turn:
    """One change, at the moment in which it is heard."""

    _set: dict[str, list[int]]
    _writer: int
    _position: Position
    _is_new: bool

    def wins(self, *slots: str) -> bool:
        """Whether it may set what these slots stand for."""
        return all(map(self._wins, slots))

    def is_first(self, *slots: str) -> bool:
        """Whether nobody has set any of these slots."""
        return not any(slot in self._set for slot in slots)

    def is_left_to(self, slot: str, weak: str) -> bool:
        """Whether nobody has set this slot, or who did so last noted it as `weak`, too."""
        return slot not in self._set or self._set[slot] == self._set.get(weak)

    def note(self, slot: str) -> None:
        """It has set this slot."""
        self._set[slot] = [self._writer, *self._position]

    def forget(self, slot: str) -> None:
        """What the slot stands for is gone."""
        self._set.pop(slot, None)

    def is_after_edit(self, slot: str, section: str) -> bool:
        """Whether it is new, and an edit set this slot last, alone or with its whole section."""
        last = self._set.get(slot) or self._set.get(section)
        return self._is_new and last is not None and last[0] == EDIT

    def _wins(self, slot: str) -> bool:
        last = self._set.get(slot)
        if last is None:
            return True
        if last[0] == self._writer and self._writer != EDIT:
            return self._position > last[1:]
        return self._is_new


def turn_of(change: RunChange, heard: dict[str, Any]) -> Turn:
    """The turn of a change of a run of which this was heard, in which it is noted."""
    slots = heard.setdefault("set", {})
    position = [change.seq, change.index]
    if change.writer == "":
        return Turn(slots, EDIT, position, not change.is_late)
    writers: dict[str, list[int]] = heard.setdefault("writers", {})
    known = writers.get(change.writer)
    if known is None:
        known = writers[change.writer] = [len(writers), -1, -1]
    is_new = position > known[1:]
    if is_new:
        known[1:] = position
    return Turn(slots, known[0], position, is_new and not change.is_late)


def edited_keys(heard: Mapping[str, Any], section: Mapping[str, Any], name: str) -> set[str]:
    """The keys of a section of this name that an edit set last, alone or with all of it."""
    slots = heard.get("set", {})
    whole = slots.get(name, ())
    return {key for key in section if (slots.get(f"{name}/{key}") or whole or (None,))[0] == EDIT}


def heard_before(
    versions: Mapping[str, list[int]], writers: Mapping[int, str]
) -> dict[str, dict[str, list[int]]]:
    """The same for a run of code that ordered changes by the time at which their writers started.

    `versions` has the (started, seq, index) of each slot, `writers` the run's writers by that time.
    Everything new counts as later, also than an edit that was then ahead of all of the run's own changes.
    """
    heard: dict[str, dict[str, list[int]]] = {"writers": {}, "set": {}}
    for slot, (started, *position) in versions.items():
        if started < 0:  # a generated name, of which the oldest counted
            heard["set"][_MADE_UP_NAME] = [EDIT]
            continue
        writer = writers.get(started)
        if writer is None or position == [0, 0]:
            heard["set"][slot] = [EDIT]
            continue
        known = heard["writers"].setdefault(writer, [len(heard["writers"]), *position])
        known[1:] = max(known[1:], position)
        heard["set"][slot] = [known[0], *position]
    return heard
