"""docs/wandb-names.md and the tables behind it, compared with the official client and with Penstock."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from support.wandb_names import (
    MISSING,
    PAGE,
    SCOPES,
    Scope,
    arguments_of,
    missing_names,
    official,
    page,
)

import penstock
from penstock.reading.api import Api, ApiRun, Project, Runs
from penstock.runs.run import Run
from penstock.surface.logging_names import ARGUMENTS
from penstock.surface.names import Standing, Use
from penstock.values.fields import Config, Summary

CLASSES = {
    "Run": Run, "Config": Config, "Summary": Summary, "Api": Api, "ApiRun": ApiRun, "Runs": Runs, "Project": Project
}  # fmt: skip
each_scope = pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: scope.key)


def parameters(function: Callable[..., Any]) -> list[str]:
    found = inspect.signature(function).parameters
    return [name for name in found if name != "self"]


def test_the_page_is_that_of_today() -> None:
    assert PAGE.read_text() == page(), "python tests/support/wandb_names.py"


@each_scope
def test_every_name_of_the_official_client_is_declared(scope: Scope) -> None:
    names = {*official()["names"][scope.key]}
    assert len(names) > 2
    assert not sorted(names - scope.table.keys()), "declare them in client/penstock/surface"
    # What an older client had may stay declared, such as the version.
    assert not sorted(scope.table.keys() - names - {"__version__"}), (
        "the official client has none of these"
    )


@each_scope
def test_what_is_declared_as_there_is_there(scope: Scope) -> None:
    there = {name for name, each in scope.table.items() if each.standing is not Standing.NOT}
    assert not sorted(name for name in there if not scope.has(name))


@each_scope
def test_what_is_declared_as_missing_is_missing(scope: Scope) -> None:
    """Once it is built, its line changes."""
    gone = {name for name, each in scope.table.items() if each.standing is Standing.NOT}
    assert not sorted(name for name in gone if scope.has(name))


@each_scope
def test_reasons_are_given_where_they_are_due(scope: Scope) -> None:
    for table in (scope.table, *ARGUMENTS.values()):
        for name, each in table.items():
            assert bool(each.about) == (each.standing is not Standing.SAME), name
            assert (each.use is Use.WORKS) == (each.standing is not Standing.NOT), name


@pytest.mark.parametrize("function", ARGUMENTS)
def test_every_argument_is_declared(function: str) -> None:
    assert {*ARGUMENTS[function]} == {*arguments_of(function)}


def test_the_arguments_of_every_function_of_the_module_are_compared() -> None:
    [module] = (scope for scope in SCOPES if scope.key == "module")
    there = {name for name, each in module.table.items() if each.standing is not Standing.NOT}
    with_arguments = {name for name, given in official()["arguments"]["module"].items() if given}
    assert there & with_arguments <= ARGUMENTS.keys() | {"termsetup"}


@pytest.mark.parametrize("function", ARGUMENTS)
def test_arguments_have_the_same_order(function: str) -> None:
    """Those that are there, in the module and in the run."""
    given = arguments_of(function)
    there = [name for name in given if ARGUMENTS[function][name].use is Use.WORKS]
    own = parameters(getattr(penstock, function))
    assert [name for name in own if name in there] == there
    positions = {name: own.index(name) for name in there}
    assert positions == {name: given.index(name) for name in there}
    if (method := getattr(Run, function, None)) is not None:
        assert parameters(method)[: len(there)] == there


@pytest.mark.parametrize("key", CLASSES)
def test_methods_have_the_same_arguments(key: str) -> None:
    [scope] = (scope for scope in SCOPES if scope.key == key)
    for method, given in official()["arguments"][key].items():
        declared = scope.table[method]
        if declared.standing is Standing.SAME:
            own = inspect.getattr_static(CLASSES[key], method)
            takes = inspect.signature(own).parameters.values()
            if any(each.kind is each.VAR_POSITIONAL for each in takes):
                continue
            assert len(parameters(own)) >= len(given), method


def test_nothing_that_was_there_goes_missing() -> None:
    """The recorded list may only shrink."""
    recorded = {*MISSING.read_text().splitlines()}
    assert not sorted(missing_names() - recorded)
    assert not sorted(recorded - missing_names()), "delete these lines"
