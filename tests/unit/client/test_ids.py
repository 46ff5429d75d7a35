"""Random ids: of what each kind consists, and that seeds do not matter."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from penstock import ids

LOWER, HEX = "abcdefghijklmnopqrstuvwxyz0123456789", "0123456789abcdef"
LETTERS = LOWER + LOWER[:26].upper()
# kind -> (alphabet, length, bits that its description promises)
FORMS: dict[Callable[[], str], tuple[str, int, int]] = {
    ids.new_run_id: (LOWER, 8, 41),
    ids.new_writer_id: (HEX, 32, 128),
    ids.new_sweep_id: (LOWER, 8, 41),
    ids.new_agent_id: (HEX, 20, 80),
    ids.new_worker_id: (HEX, 16, 64),
    ids.new_gateway_id: (HEX, 12, 48),
    ids.new_store_id: (HEX, 16, 64),
    ids.new_reserved_name: (HEX, 32, 128),
    ids.new_trailer_tag: (HEX, 16, 64),
    ids.new_claim_token: (HEX, 32, 128),
    ids.new_key_id: (LETTERS, 10, 60),
    ids.new_key_secret: (LETTERS, 43, 256),
    ids.new_session_id: (LETTERS + "-_", 43, 258),
    ids.new_installation_secret: (HEX, 64, 256),
}


@pytest.mark.parametrize("make", FORMS, ids=lambda make: make.__name__)
def test_the_form_of_each_kind(make: Callable[[], str]) -> None:
    alphabet, length, bits = FORMS[make]
    made = [make() for _ in range(200)]
    assert len(set(made)) == len(made)
    assert {len(each) for each in made} == {length}
    # All of 1,600 characters or more are others with a chance of less than 1e-11.
    assert set("".join(made)) == set(alphabet)
    assert round(length * math.log2(len(alphabet))) == bits
    assert f"{bits} bits" in (make.__doc__ or "")


def test_every_kind_is_described() -> None:
    makers = {name for name in ids.__all__ if name.startswith("new_")}
    assert makers == {make.__name__ for make in FORMS}


def test_a_seed_changes_nothing() -> None:
    found = set()
    for _ in range(2):
        random.seed(1)
        found.add(ids.new_run_id())
    assert len(found) == 2


def test_choices_are_equally_likely() -> None:
    counts = dict.fromkeys("abc", 0)
    for _ in range(3_000):
        counts[ids.choose("abc")] += 1
    assert all(800 < count < 1_200 for count in counts.values())
