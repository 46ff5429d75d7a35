"""Operations for the wandb client, for the OpenAPI document; docs/wandb.md describes them."""

from __future__ import annotations

from penstock_common.http.openapi import Operation, Raw
from penstock_compat.wandb.artifacts.routes import OPERATIONS as ARTIFACTS

__all__ = ["OPERATIONS"]

_JSON = "application/json"

OPERATIONS = (
    Operation(
        "POST",
        "/graphql",
        tag="wandb",
        summary="GraphQL for the official wandb client.",
        body=Raw(_JSON, "An operation: query, operationName, variables.", {"type": "object"}),
        answers={200: Raw(_JSON, "`data`, or `errors`.", {"type": "object"})},
        errors=(400, 401, 403),
    ),
    Operation(
        "POST",
        "/files/{entity}/{project}/{run}/file_stream",
        tag="wandb",
        summary="Receive a run's lines from the official wandb client; 200 once they are stored.",
        body=Raw(_JSON, "Files, each with the index of its first line.", {"type": "object"}),
        answers={200: Raw(_JSON, "`stopped` says whether the run should end.", {"type": "object"})},
        errors=(400, 401, 403, 413, 429, 503),
    ),
    Operation(
        "PUT",
        "/wandb/files/{number}/{name}",
        tag="wandb",
        summary="Upload a run's file to a URL from createRunFiles.",
        body=Raw("application/octet-stream", "The file's content, of any size."),
        answers={200: Raw(_JSON, "Stored.", {"type": "object"})},
        errors=(400, 403, 404, 408, 413, 503),
        needs_key=False,
    ),
    Operation(
        "GET",
        "/wandb/files/{number}/{name}",
        tag="wandb",
        summary="Download a run's file from a URL in a listing.",
        answers={
            200: Raw("application/octet-stream", "The file, or the part requested by `Range`.")
        },
        errors=(400, 403, 404, 416),
        needs_key=False,
    ),
    *ARTIFACTS,
)
