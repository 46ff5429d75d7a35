"""What a batch that cannot be folded makes the worker forget: its own writer, and nothing else."""

from __future__ import annotations

from typing import Any

from penstock_storage.contracts.interface import RunRef
from penstock_workers.batches.committed import CommittedSeqs
from penstock_workers.batches.known_state import KnownState

REF, OTHER = RunRef("e", "p", "r"), RunRef("e", "p", "other")


def test_writers_are_forgotten_under_every_name_of_their_run() -> None:
    stores: Any = None  # nothing is asked of them
    known = KnownState(stores, stores)
    known.writers = {
        (ref, f"w{n}"): CommittedSeqs(n, low=5) for ref in (REF, OTHER) for n in (1, 2)
    }
    known.beyond = {(REF, "w1"): CommittedSeqs(0)}
    known.forget_writers([(REF, "w1"), (REF, "unknown")])
    assert set(known.writers) == {(REF, "w2"), (OTHER, "w1"), (OTHER, "w2")}
    assert not known.beyond
    known.note_shard(OTHER, 3)  # a run that was moved, by the name that it has now
    known.forget_writers([(REF, "w2")])
    assert set(known.writers) == {(OTHER, "w1")}
    assert not known.is_stale
