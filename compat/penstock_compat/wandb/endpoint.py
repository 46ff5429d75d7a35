"""`POST /graphql`: executes one operation."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from aiohttp import web

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_common.http.errors import count_refusal, json_response
from penstock_compat.wandb.dependencies import WandbDependencies
from penstock_compat.wandb.graphql.documents import GraphqlOperation, find_operation
from penstock_compat.wandb.graphql.execution import Execution
from penstock_compat.wandb.metrics import WandbMetrics
from penstock_compat.wandb.request_context import RequestContext, authenticate, base_url
from penstock_compat.wandb.schema import Mutation, Query
from penstock_compat.wandb.unanswered import Unanswered

__all__ = ["GraphqlEndpoint"]

_IN_THREAD_BYTES = 256 * 1024
# Statuses that a client must see. All other errors are reported only in the body.
_TOLD_BY_STATUS = frozenset({401, 403})


class GraphqlEndpoint:
    """Answers operations; unknown ones are named in the error and counted."""

    def __init__(self, deps: WandbDependencies, metrics: WandbMetrics) -> None:
        self._deps = deps
        self._metrics = metrics
        self._unanswered = Unanswered(metrics)

    async def post(self, request: web.Request) -> web.Response:
        try:
            principal = await authenticate(self._deps.authenticator, request.headers)
        except Rejected as error:
            count_refusal(error, self._deps.metrics)
            return _errors(error, error.status)
        async with self._deps.bodies.body(request) as body:
            operation = await _read(body)
        context = RequestContext(
            self._deps, principal, base_url(request, self._deps.root_path), request.headers
        )
        root = Mutation(context) if operation.is_mutation else Query(context)
        try:
            data = await Execution(operation, self._unanswered.field).run(root)
        except Rejected as error:
            self._count_refusal(error, operation)
            if error.status == 429:
                raise  # with the time to wait
            count_refusal(error, self._deps.metrics)
            return _errors(error, error.status if error.status in _TOLD_BY_STATUS else 200)
        self._metrics.operations.labels("answered").inc()
        return json_response({"data": data})

    def _count_refusal(self, error: Rejected, operation: GraphqlOperation) -> None:
        is_unknown = error.code == ErrorCode.UNKNOWN_OPERATION
        self._metrics.operations.labels("unknown" if is_unknown else "refused").inc()
        if is_unknown:
            self._unanswered.operation(operation.name, str(error))


async def _read(body: bytes) -> GraphqlOperation:
    if len(body) > _IN_THREAD_BYTES:
        return await asyncio.to_thread(_operation, body)
    return _operation(body)


def _operation(body: bytes) -> GraphqlOperation:
    try:
        fields: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Rejected(f"the body is not valid JSON: {error}", code=ErrorCode.BAD_JSON) from None
    if not isinstance(fields, dict) or not isinstance(fields.get("query"), str):
        raise Rejected(
            'the body must be {"query": "…", "variables": {…}}', code=ErrorCode.BAD_GRAPHQL
        )
    variables, name = fields.get("variables") or {}, fields.get("operationName") or ""
    if not isinstance(variables, dict) or not isinstance(name, str):
        raise Rejected(
            "variables must be an object, operationName a string", code=ErrorCode.BAD_GRAPHQL
        )
    return find_operation(fields["query"], name, variables)


def _errors(error: Rejected, status: int) -> web.Response:
    """The client shows the message to its user whatever the status."""
    message = f"{error}. {error.hint}" if error.hint else str(error)
    code = {"code": error.code}
    body = {"data": None, "errors": [{"message": message, "extensions": code}]}
    return json_response(body, status)
