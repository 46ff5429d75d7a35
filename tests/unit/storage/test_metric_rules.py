"""Which keys a run's rules keep out of its summary."""

from __future__ import annotations

from typing import Any

import pytest

from penstock_storage.metric_rules import hidden_keys

NONE = {"summary": "none"}


def shown(rules: Any, *keys: str) -> list[str]:
    hidden = hidden_keys({"define_metric": rules})
    summary = dict.fromkeys(keys, 1)
    return list(hidden.left_out(summary) if hidden else summary)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"a": NONE}, ["ab", "a.b", "g/x", "g/y/z"]),
        ({"a": {"summary": "max, none"}}, ["ab", "a.b", "g/x", "g/y/z"]),
        ({"a": {"summary": "max"}, "g/*": NONE}, ["a", "ab", "a.b"]),
        ({"*": NONE, "a": {}}, ["a"]),
        ({"*": NONE, "g/*": {"summary": "max"}, "g/x": NONE}, ["g/y/z"]),
        ({"g/*": NONE, "g/y*": {"summary": "last"}}, ["a", "ab", "a.b", "g/y/z"]),
        ({"a\\.b": NONE}, ["a", "ab", "g/x", "g/y/z"]),
        ({"a*b": NONE, "*b": NONE}, ["a", "ab", "a.b", "g/x", "g/y/z"]),
    ],
)
def test_names_and_globs(rules: Any, expected: list[str]) -> None:
    assert shown(rules, "a", "ab", "a.b", "g/x", "g/y/z") == expected


@pytest.mark.parametrize(
    "rules", [None, {}, [], "none", {"a": None}, {"a": "none"}, {"a": {"summary": ["none"]}}]
)
def test_rules_that_hide_nothing_or_are_none(rules: Any) -> None:
    assert hidden_keys({"define_metric": rules}) is None
    assert hidden_keys({}) is None
