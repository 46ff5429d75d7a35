"""JSON of the protocol: as batches take it, and with every digit."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import sized

from penstock.errors import Rejected
from penstock_compat.wandb.values import json_text, loads, loads_exact, loads_map

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


@sized(5_000)
@given(VALUES | st.integers(-(2**400), 2**400).map(lambda n: {"n": [n]}))
def test_what_python_writes_is_read_as_it_was(value: Any) -> None:
    text = json.dumps(value)
    assert repr(loads_exact(text)) == repr(value)
    assert repr(loads_exact(json_text(value))) == repr(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", 2**64),
        ("-9223372036854775809", -(2**63) - 1),
        ("[1e20, 100000000000000000000, 1.00000000000000000001]", [1e20, 10**20, 1.0]),
        ('"100000000000000000000"', "100000000000000000000"),
        ("[100000000000000000000, NaN, -Infinity]", [10**20, math.nan, -math.inf]),
        ('{"ü100000000000000000001": 100000000000000000001}', {"ü" + str(10**20 + 1): 10**20 + 1}),
    ],
)
def test_digits(text: str, expected: Any) -> None:
    assert repr(loads_exact(text)) == repr(expected)


def test_batches_take_64_bits() -> None:
    assert loads("18446744073709551615") == 2**64 - 1
    assert type(loads("[18446744073709551616, NaN]")[0]) is float


def test_a_number_too_long_for_python_is_infinite() -> None:
    assert loads_exact("9" * 5_000) == math.inf
    assert loads_exact("9" * 1_000) == int("9" * 1_000)


@pytest.mark.parametrize("text", ["", "{", "[1,]", "[" * 5_000 + "100000000000000000000"])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="config is not valid JSON"):
        loads_map("config", text)
