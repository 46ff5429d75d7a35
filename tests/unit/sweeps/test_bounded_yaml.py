"""Hostile YAML is refused before it costs more than its text, and nothing but a refusal comes of it."""

from __future__ import annotations

import asyncio
import json
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import or_refused, sized

from penstock.errors import Rejected
from penstock_common.http.payloads import as_json, encode_json
from penstock_sweeps.bounded_yaml import YamlTooLarge, load_yaml
from penstock_sweeps.configuration import prepare, read_configuration, stored_configuration

WORK = 400_000
"""Calls that a text of 256 KiB may cost."""


def levels(first: str, one: str, join: str, width: int, depth: int) -> str:
    lines = [f"a0: &a0 {first}"]
    for n in range(1, depth):
        lines.append(f"a{n}: &a{n} " + one % join.join([f"*a{n - 1}"] * width))
    return "\n".join(lines)


MERGES = levels("{a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1}", "{<<: [%s]}", ",", 8, 8)
HOSTILE = {
    "merges": MERGES,
    "a billion laughs": levels("[x, x, x, x, x, x, x, x, x]", "[%s]", ",", 9, 10),
    "laughs in maps": levels("{a: 1}", "{x: [%s]}", ",", 9, 10),
    "deep lists": "[" * 200_000,
    "deep maps": "{a: " * 60_000,
    "deep keys": "? " * 100_000,
    "deep blocks": "\n".join(" " * n + "a:" for n in range(700)),
    "a long integer": "a: " + "9" * 200_000,
    "a long hexadecimal": "a: 0x" + "f" * 200_000,
    "a long number of base 60": "a: " + ":".join(["59"] * 60_000),
    "one that is tagged": "a: !!int '" + ":".join(["59"] * 60_000) + "'",
    "a long float": "a: 1." + "0" * 200_000,
    "itself": "&a [*a]",
    "itself merged": "&a {<<: *a}",
    "many parts": "[" + "1," * 120_000 + "]",
}
BROKEN = [
    "a: !!int ''", "a: !!int x", "a: !!float x", "a: !!bool x", "a: !!timestamp x", "a: !!binary xx!!",
    "a: !!omap 1", "a: !!set [1]", "a: !!python/object/apply:os.system [x]", "a: {<<: 1}", "? [a]\n: 1",
    "a: *b", "a: 2020-13-45", 'a: "\\ud800"', "a: \0", "--- 1\n--- 2", "\t", "%YAML 9", "a: \ud800", "&",
]  # fmt: skip


def calls_of(text: str) -> int:
    """How many Python calls reading the text takes."""
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        load_yaml(text)
    except (ValueError, Rejected):
        pass
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.heavy if name == "many parts" else ())
        for name in HOSTILE
    ],
)
def test_what_costs_more_than_its_text_is_refused_early(name: str) -> None:
    with pytest.raises(YamlTooLarge):
        load_yaml(HOSTILE[name])
    assert calls_of(HOSTILE[name]) < (4_000_000 if name == "many parts" else WORK)
    with pytest.raises(Rejected) as refused:
        read_configuration(HOSTILE[name])
    assert refused.value.status == 400
    assert len(str(refused.value)) < 2_000


def test_small_texts_cost_little() -> None:
    assert len(MERGES) < 450
    assert calls_of(MERGES) < 5_000


def test_a_text_that_is_too_long_is_not_read() -> None:
    with pytest.raises(Rejected) as refused:
        load_yaml("#" * (2**18 + 1))
    assert refused.value.status == 413


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_broken_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        load_yaml(text)


def test_honest_merges_and_aliases_work() -> None:
    text = "base: &b {lr: 1e-4, n: 1}\nx: {<<: *b, n: 2}\ny: [*b, *b]\nz: {<<: [*b, {k: 1}]}\nbig: 1e999999"
    read = load_yaml(text)
    assert read["x"] == {"lr": 1e-4, "n": 2}
    assert read["y"] == [read["base"]] * 2
    assert read["z"] == {"lr": 1e-4, "n": 1, "k": 1}
    assert read["big"] == math.inf


def test_values_of_a_fine_grid_are_made_when_they_are_looked_at() -> None:
    entries = "\n".join(f"  p{n}: {{min: 0, max: 1, q: 0.0001}}" for n in range(2_000))
    configuration = read_configuration(f"method: grid\nparameters:\n{entries}")
    space = configuration.space
    assert space.parameters[0].grid is not None
    assert len(space.parameters[0].grid) == 10_001
    assert configuration.cap == 2**53


def test_a_sweep_that_no_longer_passes_says_why() -> None:
    asyncio.run(prepare([MERGES]))
    found = stored_configuration(MERGES)
    assert found.cap is None
    assert "100,000 parts" in found.warnings[0]


pieces = st.sampled_from(
    ["method: grid", "method: random", "parameters:", "  a: ", "{", "}", "[", "]", "&x ", "*x", "<<: ",
     "values: ", "min: ", "max: ", "q: ", "1", "1e308", "1e-308", "-1", ".inf", ".nan", "10" * 40, ", ", ": ",
     "\n", "  ", "!!int ", "!!set ", "? ", "- ", "'", '"', "distribution: ", "q_uniform", "beta", "normal", "mu: ",
     "sigma: ", "probabilities: ", "2020-01-01", "null", "true", "run_cap: ", "metric: {name: x}"]
)  # fmt: skip


@sized(5_000)
@given(st.lists(pieces | st.text(max_size=3), max_size=40).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    draw(text)


numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.sampled_from([2**63, 10**60, "1e-4", ""]),
)
entries = st.dictionaries(
    st.sampled_from(
        ["min", "max", "q", "mu", "sigma", "a", "b", "value", "values", "probabilities", "distribution"]
    ),
    st.one_of(
        numbers,
        st.lists(numbers, max_size=3),
        st.sampled_from(
            ["uniform", "q_uniform", "int_uniform", "log_uniform", "q_log_uniform_values", "beta",
             "inv_log_uniform", "inv_log_uniform_values", "normal", "q_normal", "log_normal", "q_beta",
             "categorical_w_probabilities"]
        ),
    ),
    max_size=4,
)  # fmt: skip


@sized(5_000)
@given(
    st.sampled_from(["grid", "random"]), st.dictionaries(st.text(max_size=2), entries, max_size=3)
)
def test_any_parameters_are_read_or_refused(method: str, parameters: dict[str, object]) -> None:
    draw(json.dumps({"method": method, "parameters": parameters}))


def draw(text: str) -> None:
    """The first trials of a sweep with this configuration, if it is one; as JSON."""
    or_refused(read_configuration, text)
    found = stored_configuration(text)
    if found.method == "grid":
        encode_json(as_json(found.space.grid_values(0)))
    elif found.method:
        for at in range(3):
            encode_json(as_json(found.space.values(found.space.random_point("s", at))))
