"""Describes the HTTP API: operations, and the OpenAPI document made of them.

An operation declares an endpoint once: its method, path, and the pydantic models of its query, body and
replies. `endpoints` makes its route, `checks` checks requests with its models, so that the document
cannot promise what the code refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Generic, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.json_schema import models_json_schema
from typing_extensions import TypeVar

__all__ = [
    "Answered",
    "AnyOperation",
    "Asked",
    "Operation",
    "Raw",
    "model_of",
    "openapi_document",
    "operations_of",
]

QueryT = TypeVar("QueryT", bound=BaseModel | None, default=None)
BodyT = TypeVar("BodyT", bound=BaseModel | None, default=None)

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


@dataclass(frozen=True, slots=True, eq=False)
class Operation(Generic[QueryT, BodyT]):
    """One endpoint: a method of a path, its requests and its replies.

    `path` is written as `penstock_common.http.routes.Routes` takes it, `/v1/runs/{entity}`. `answers`
    maps a status to its content: a model, raw content, several of them (`Accept` selects one), or None
    for an empty reply. `errors` are the other statuses, each with an error object. `allow_head`: HEAD is
    answered like GET, without the body.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    tag: str
    summary: str
    answers: Mapping[int, Content | Sequence[Content] | None]
    query: type[QueryT] | None = None
    body: type[BodyT] | Raw | Sequence[Content] | None = None
    errors: Sequence[int] = field(default=(400, 401, 404))
    needs_key: bool = True
    allow_head: bool = True

    @property
    def template(self) -> str:
        """The path as OpenAPI writes it: names without their patterns."""
        return _PATH_NAME.sub(r"{\1}", self.path)


AnyOperation = Operation[Any, Any]


def operations_of(*modules: ModuleType) -> list[AnyOperation]:
    """The operations that these modules define, in their order."""
    return [
        found
        for module in modules
        for found in vars(module).values()
        if isinstance(found, Operation)
    ]


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


def openapi_document(operations: Iterable[AnyOperation], version: str = "1") -> dict[str, Any]:
    """The OpenAPI 3.1 document of these operations."""
    operations = list(operations)
    schemas = _schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        methods = paths.setdefault(operation.template, {})
        methods[operation.method.lower()] = _describe(operation, schemas)
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


def _models(operation: AnyOperation) -> Iterable[type[BaseModel]]:
    contents = [operation.query, *_contents(operation.body), Error]
    contents += [each for answer in operation.answers.values() for each in _contents(answer)]
    return (each for each in contents if isinstance(each, type))


def _schemas(operations: Iterable[AnyOperation]) -> dict[str, Any]:
    """JSON Schema of every model by its class's name."""
    models = dict.fromkeys(model for each in operations for model in _models(each))
    _, found = models_json_schema(
        [(model, "validation") for model in models], ref_template=_REF, by_alias=True
    )
    schemas: dict[str, Any] = found.get("$defs", {})
    return schemas


def _describe(operation: AnyOperation, schemas: Mapping[str, Any]) -> dict[str, Any]:
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


def _operation_id(operation: AnyOperation) -> str:
    words = re.findall(r"\w+", operation.template.removeprefix("/v1"))
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
