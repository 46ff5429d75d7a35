"""Versions of the official client: which are tested, what a test run of each came to, what each asked for
in vain."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

__all__ = ["Outcome", "allowed", "read_junit", "read_logs", "table", "to_test"]

_UNKNOWN = re.compile(r"unknown_graphql_operation operation=(\S+)")
_FIELD = re.compile(r"graphql_field_without_answer field=(\S+)")
_PASSED, _FAILED, _SKIPPED = "passed", "failed", "skipped"
_SHOWN = 60


@dataclass(frozen=True)
class Outcome:
    """What the tests came to with one version: by test's name passed, failed or skipped; `operations`
    and `fields` that they asked for and the server does not answer; `unknown`: those operations that the
    client has in its code; `features` of servers that it knows."""

    version: str
    tests: Mapping[str, str] = field(default_factory=dict)
    operations: frozenset[str] = frozenset()
    fields: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    features: frozenset[str] = frozenset()
    problem: str = ""
    """Why there is no outcome: it could not be installed, or the tests did not run."""

    def count(self, state: str) -> int:
        return sum(each == state for each in self.tests.values())


def allowed(pyproject: Path) -> SpecifierSet:
    """The versions that the project says it is tested with: the one place is its `dev` extra."""
    extras = tomllib.loads(pyproject.read_text())["project"]["optional-dependencies"]
    found = [Requirement(text) for text in extras["dev"]]
    return next(each.specifier for each in found if each.name == "wandb")


def to_test(released: Iterable[str], specifier: SpecifierSet, before: int = 2) -> list[str]:
    """The newest release that is allowed, then the last release of each of so many series before it.
    Raises `ValueError` if none is allowed."""
    versions = sorted({Version(text) for text in released}, reverse=True)
    final = [each for each in versions if not each.is_prerelease]
    newest = next((each for each in final if each in specifier), None)
    if newest is None:
        raise ValueError(f"no release of wandb is {specifier}: change it in pyproject.toml")
    chosen = [newest]
    for each in final:
        is_older_series = each.release[:2] < chosen[-1].release[:2]
        if is_older_series and len(chosen) <= before:
            chosen.append(each)
    return [str(each) for each in chosen]


def read_junit(report: Path) -> dict[str, str]:
    """By test, how it ended, from what pytest writes as JUnit's XML. Of a test that failed in its
    set-up and was reported twice, the worse counts."""
    found: dict[str, str] = {}
    tree = ElementTree.parse(report)  # noqa: S314  (pytest wrote it)
    for case in tree.getroot().iter("testcase"):
        name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
        kinds = {child.tag for child in case}
        state = _FAILED if kinds & {"failure", "error"} else _PASSED
        if "skipped" in kinds:
            state = _SKIPPED
        if found.get(name) != _FAILED:
            found[name] = state
    return found


def read_logs(folder: Path) -> tuple[frozenset[str], frozenset[str]]:
    """The operations, and the fields, that the gateways whose logs lie below had no answer for."""
    operations: set[str] = set()
    fields: set[str] = set()
    for path in folder.rglob("data/logs/*.log"):
        text = path.read_text(errors="replace")
        operations |= set(_UNKNOWN.findall(text))
        fields |= set(_FIELD.findall(text))
    return frozenset(operations), frozenset(fields)


def table(outcomes: Sequence[Outcome], claimed: Iterable[str]) -> str:
    """The outcomes in Markdown: a row each, then what each asks for in vain. Tests have changed that
    ended differently than with the first version. `claimed`: the features that the server has."""
    first = outcomes[0]
    lines = [
        "| wandb | passed | failed | skipped | other than with " + first.version + " |",
        "|---|---:|---:|---:|---|",
    ]
    for each in outcomes:
        if each.problem:
            lines.append(f"| {each.version} | – | – | – | {each.problem} |")
            continue
        counts = " | ".join(str(each.count(state)) for state in (_PASSED, _FAILED, _SKIPPED))
        changed = "–" if each is first else _some(_changes(first, each))
        lines.append(f"| {each.version} | {counts} | {changed} |")
    has = frozenset(claimed)
    for each in outcomes:
        if each.problem:
            continue
        lines += ["", f"wandb {each.version}"]
        if failed := [name for name, state in each.tests.items() if state == _FAILED]:
            lines.append(f"- failed: {_some(sorted(failed))}")
        lines.append(f"- operations that were not answered: {_some(sorted(each.operations))}")
        lines.append(f"- fields that were not answered: {_some(sorted(each.fields))}")
        lines.append(f"- operations in its code that would not be: {_some(sorted(each.unknown))}")
        lines.append(f"- features that are not claimed: {_some(sorted(each.features - has))}")
        if new := each.features - first.features:
            lines.append(f"- features that {first.version} does not know: {_some(sorted(new))}")
    return "\n".join(lines) + "\n"


def _changes(first: Outcome, other: Outcome) -> list[str]:
    names = sorted({*first.tests, *other.tests})
    return [
        f"{name}: {other.tests.get(name, 'not run')}"
        for name in names
        if first.tests.get(name) != other.tests.get(name)
    ]


def _some(names: Sequence[str]) -> str:
    if not names:
        return "none"
    more = f", … {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
