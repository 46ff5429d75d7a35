"""Describes the HTTP API: operations next to their handlers, and the OpenAPI document made of them.

An operation names the pydantic models of its query, body and replies; handlers check requests with
the same models, so that the document cannot promise what the code refuses. Applications collect
operations while their routes are added, and serve the document at `/v1/openapi.json`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.json_schema import models_json_schema

from penstock_common.http.errors import json_response
from penstock_common.http.routes import Routes

__all__ = [
    "Answered", "Asked", "Operation", "Raw", "add_operations", "model_of", "openapi_document",
]  # fmt: skip

_REF = "#/components/schemas/{model}"
_PATH_NAME = re.compile(r"{(\w+)[^}]*}")


class Asked(BaseModel):
    """A query or a body: unknown fields are refused, and so are NaN and infinities."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, title=None)


class Answered(BaseModel):
    """A reply. Handlers write the JSON themselves; the model describes it, and tests compare the two."""

    model_config = ConfigDict(extra="forbid")


def model_of(base: type[BaseModel], fields: Mapping[str, Any]) -> Any:
    """A base class for models with these fields, declared elsewhere: (type, default or `Field`) by name."""
    return create_model(base.__name__, __base__=base, **fields)


@dataclass(frozen=True, slots=True)
class Raw:
    """A body or reply without a model: its content type, and a description."""

    content_type: str
    about: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


Content = type[BaseModel] | Raw


@dataclass(frozen=True, slots=True)
class Operation:
    """Request and replies of one method of one path.

    `path` has the syntax of both aiohttp and OpenAPI, `/v1/runs/{entity}`. `answers` maps a status to
    its content: a model, raw content, several of them (`Accept` selects one), or None for an empty
    reply. `errors` are the other statuses, each with an error object.
    """

    method: str
    path: str
    tag: str
    summary: str
    answers: Mapping[int, Content | Sequence[Content] | None]
    query: type[BaseModel] | None = None
    body: Content | Sequence[Content] | None = None
    errors: Sequence[int] = field(default=(400, 401, 404))
    needs_key: bool = True


class ErrorDetail(Answered):
    """An error: a code for programs and a message for people."""

    code: str
    message: str
    hint: str
    supported: list[int] | None = Field(
        None, description="For an unknown wire version: the versions that this server supports."
    )


class Error(Answered):
    """The body of every reply with status 400 and above."""

    error: ErrorDetail


class _Described:
    """An application's operations, and their document, which takes a while to make."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    @cached_property
    def document(self) -> dict[str, Any]:
        return openapi_document(self.operations)


_DESCRIBED = web.AppKey("described", _Described)


def add_operations(app: web.Application, operations: Iterable[Operation]) -> None:
    """Describe routes of this application, and serve the document of all of them."""
    if _DESCRIBED not in app:
        app[_DESCRIBED] = _Described()
        Routes(app).get("/v1/openapi.json", _document)
    app[_DESCRIBED].operations.extend(operations)


async def _document(request: web.Request) -> web.Response:
    return json_response(request.app[_DESCRIBED].document)


def openapi_document(operations: Iterable[Operation], version: str = "1") -> dict[str, Any]:
    """The OpenAPI 3.1 document of these operations."""
    operations = list(operations)
    schemas = _schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = _PATH_NAME.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _describe(operation, schemas)
    queries = {each.query.__name__ for each in operations if each.query is not None}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Penstock",
            "version": version,
            "description": "Self-hosted experiment tracking. docs/api.md is the manual.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {name: found for name, found in schemas.items() if name not in queries},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key."}
            },
        },
    }


def _contents(content: Content | Sequence[Content] | None) -> list[Content]:
    if content is None:
        return []
    return list(content) if isinstance(content, Sequence) else [content]


def _models(operation: Operation) -> Iterable[type[BaseModel]]:
    contents = [operation.query, *_contents(operation.body), Error]
    contents += [each for answer in operation.answers.values() for each in _contents(answer)]
    return (each for each in contents if isinstance(each, type))


def _schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    """JSON Schema of every model by its class's name."""
    models = dict.fromkeys(model for each in operations for model in _models(each))
    _, found = models_json_schema(
        [(model, "validation") for model in models], ref_template=_REF, by_alias=True
    )
    schemas: dict[str, Any] = found.get("$defs", {})
    return schemas


def _describe(operation: Operation, schemas: Mapping[str, Any]) -> dict[str, Any]:
    names = _PATH_NAME.findall(operation.path)
    described: dict[str, Any] = {
        "operationId": _operation_id(operation),
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [*map(_path_parameter, names), *_query_parameters(operation.query, schemas)],
        "responses": {
            **{str(status): _answer(answer) for status, answer in operation.answers.items()},
            **{str(status): _error(status) for status in operation.errors},
        },
        # Reading needs no key on a loopback server.
        "security": [{"key": []}] if operation.needs_key else [{"key": []}, {}],
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _content(operation.body)}
    return described


def _operation_id(operation: Operation) -> str:
    words = re.findall(r"\w+", operation.path.removeprefix("/v1"))
    return "_".join([operation.method.lower(), *words])


def _path_parameter(name: str) -> dict[str, Any]:
    # A path segment cannot contain a slash, and clients resolve "." and ".." before sending.
    schema = {
        "type": "string",
        "minLength": 1,
        "pattern": r"^[^/\\\x00-\x1f\x7f.][^/\\\x00-\x1f\x7f]*$",
    }
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(
    query: type[BaseModel] | None, schemas: Mapping[str, Any]
) -> Iterable[dict[str, Any]]:
    if query is None:
        return
    model = schemas[query.__name__]
    for name, schema in model["properties"].items():
        about = schema.pop("description", "")
        parameter = {
            "name": name,
            "in": "query",
            "required": name in model.get("required", ()),
            "description": about,
            "schema": schema,
        }
        if schema.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        yield parameter


def _answer(answer: Content | Sequence[Content] | None) -> dict[str, Any]:
    if answer is None:
        return {"description": "No content."}
    about = [each.about for each in _contents(answer) if isinstance(each, Raw)]
    return {"description": " ".join(about) or "The answer.", "content": _content(answer)}


def _error(status: int) -> dict[str, Any]:
    return {
        "description": f"Refused with {status}; see the error.",
        "content": _content(Error),
    }


def _content(content: Content | Sequence[Content]) -> dict[str, Any]:
    described: dict[str, Any] = {}
    for each in _contents(content):
        if isinstance(each, Raw):
            described[each.content_type] = {"schema": {**each.schema, "description": each.about}}
        else:
            described["application/json"] = {"schema": {"$ref": _REF.format(model=each.__name__)}}
    return described
