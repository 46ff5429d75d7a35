"""How far a writer got, when some of its numbers are dead."""

from __future__ import annotations

import pytest

from penstock_ingest.positions import reached


@pytest.mark.parametrize(
    ("committed", "dead", "expected"),
    [
        (None, [], None),
        (b"4", [], 4),
        (b"4", [2, 5, 6, 8], 6),
        # A writer that the store has never heard of: nobody waits for what is dead.
        (None, [1], 1),
        (None, [1, 2, 4], 2),
        (None, [2], None),
        (b"0", [1, 2], 2),
    ],
)
def test_dead_numbers_are_passed(
    committed: bytes | None, dead: list[int], expected: int | None
) -> None:
    assert reached(committed, dead) == expected
