"""The whole API: what is declared, what is routed, and with which models handlers check requests."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from types import CodeType, ModuleType
from typing import Any

from support.routing import application

from penstock_common.http.openapi import AnyOperation, Operation, operations_of
from penstock_ingest import operations as ingest_operations
from penstock_sweeps import operations as sweep_operations
from penstock_web import models
from penstock_web.openapi import OPERATIONS as READ

OPERATIONS = [*operations_of(ingest_operations), *READ, *operations_of(sweep_operations)]
DOCUMENT = ("GET", "/v1/openapi.json")


def handlers() -> dict[tuple[str, str], Callable[..., Any]]:
    """The handler of each route of the API."""
    return {
        (route.method, route.resource.canonical): route.handler
        for route in application().router.routes()
        if route.resource is not None
        and route.resource.canonical.startswith("/v1/")
        and route.method != "HEAD"
    }


def endpoint(operation: AnyOperation) -> tuple[str, str]:
    return operation.method, operation.template


def declaring_modules() -> list[ModuleType]:
    subjects = [each.name for each in pkgutil.iter_modules(models.__path__, "penstock_web.models.")]
    return [ingest_operations, sweep_operations, *map(import_module, subjects)]


def test_what_is_routed_is_declared_and_what_is_declared_is_routed_once() -> None:
    declared = [endpoint(each) for each in OPERATIONS]
    assert sorted(declared) == sorted(handlers().keys() - {DOCUMENT})


def test_every_subjects_operations_are_listed() -> None:
    assert set(operations_of(*declaring_modules())) == set(OPERATIONS)


def test_handlers_check_requests_with_their_own_operations() -> None:
    """Else a request would be checked by other models than those that the document describes."""
    names = {
        name: found
        for module in declaring_modules()
        for name, found in vars(module).items()
        if isinstance(found, Operation)
    }
    assert len(names) == len(OPERATIONS)
    bound = handlers()
    for operation in OPERATIONS:
        handler = bound[endpoint(operation)]
        while hasattr(handler, "__wrapped__"):
            handler = handler.__wrapped__
        code: CodeType = handler.__code__
        used = {names[name] for name in code.co_names if name in names}
        has_model = operation.query is not None or isinstance(operation.body, type)
        assert used == ({operation} if has_model else set()), endpoint(operation)
