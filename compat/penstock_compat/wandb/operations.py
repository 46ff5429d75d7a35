"""The wandb door's operations, for the OpenAPI document; docs/wandb.md says what is behind them."""

from __future__ import annotations

from penstock_common.openapi import Operation, Raw

__all__ = ["OPERATIONS"]

_JSON = "application/json"

OPERATIONS = (
    Operation(
        "POST",
        "/graphql",
        tag="wandb",
        summary="GraphQL as the official wandb client speaks it.",
        body=Raw(_JSON, "An operation: query, operationName, variables.", {"type": "object"}),
        answers={200: Raw(_JSON, "`data`, or `errors`.", {"type": "object"})},
        errors=(400, 401, 403),
    ),
    Operation(
        "POST",
        "/files/{entity}/{project}/{run}/file_stream",
        tag="wandb",
        summary="Lines of a run of the official wandb client; 200 once they are stored.",
        body=Raw(_JSON, "Files with the index of their first line.", {"type": "object"}),
        answers={200: Raw(_JSON, "`stopped`: the run should end.", {"type": "object"})},
        errors=(400, 401, 403, 413, 429, 503),
    ),
)
