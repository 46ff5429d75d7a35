"""Values that a commit does not store, since their runs have too many keys: counted on each run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping

from penstock.wire import Frame
from penstock_storage.contracts.interface import RunChange, RunRef, RunRow

__all__ = ["LeftOut", "with_numbers"]

_NAME = "left_out"
"""In `info` of a run."""
_MAX_KEYS_NAMED = 20


class LeftOut:
    """The values that one commit leaves out."""

    def __init__(self) -> None:
        self._values: dict[RunRef, dict[str, int]] = {}

    def note(self, ref: RunRef, keys: Iterable[str], rows: int) -> None:
        """Count rows of each of these keys."""
        of_run = self._values.setdefault(ref, {})
        for key in keys:
            of_run[key] = of_run.get(key, 0) + rows

    def changes(
        self, runs: Mapping[RunRef, RunRow], totals: MutableMapping[RunRef, int]
    ) -> dict[RunRef, RunChange]:
        """Changes that record on each run how many values were left out so far, and some of their keys.
        `totals` has the counts that this worker knows."""
        changes = {}
        for ref, values in self._values.items():
            before = totals.get(ref, runs[ref].info.get(_NAME, {}).get("values", 0))
            totals[ref] = before + sum(values.values())
            told = {"values": totals[ref], "keys": sorted(values)[:_MAX_KEYS_NAMED]}
            changes[ref] = RunChange.edit(runs[ref].number, "run", {_NAME: told})
        return changes


def with_numbers(frame: Frame, numbers: list[int | None]) -> tuple[Frame, list[int]]:
    """The frame without the keys that have no number, and the numbers of the others."""
    kept = [at for at, number in enumerate(numbers) if number is not None]
    if len(kept) < len(numbers):
        size = 8 * frame.rows
        frame = Frame(
            [frame.keys[at] for at in kept],
            frame.steps,
            frame.times,
            b"".join(frame.values[at * size : (at + 1) * size] for at in kept),
            None if frame.ints is None else bytes(frame.ints[at] for at in kept),
        )
    return frame, [number for number in numbers if number is not None]
