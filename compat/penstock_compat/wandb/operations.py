"""The wandb door's operations, for the OpenAPI document; docs/wandb.md says what is behind them."""

from __future__ import annotations

from penstock_common.openapi import Operation, Raw
from penstock_compat.wandb.artifacts.routes import OPERATIONS as ARTIFACTS

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
    Operation(
        "PUT",
        "/wandb/files/{number}/{name}",
        tag="wandb",
        summary="The bytes of a run's file, at an address that createRunFiles gave out.",
        body=Raw("application/octet-stream", "The file as it is, of any size."),
        answers={200: Raw(_JSON, "Stored.", {"type": "object"})},
        errors=(400, 403, 404, 408, 413, 503),
        needs_key=False,
    ),
    Operation(
        "GET",
        "/wandb/files/{number}/{name}",
        tag="wandb",
        summary="The bytes of a run's file, at an address that a listing gave out.",
        answers={200: Raw("application/octet-stream", "The file, or the part in `Range`.")},
        errors=(400, 403, 404, 416),
        needs_key=False,
    ),
    *ARTIFACTS,
)
