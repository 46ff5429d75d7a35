"""Changing, moving and deleting runs."""

from __future__ import annotations

from pydantic import Field

from penstock_common.http.openapi import Operation, model_of
from penstock_common.http.run_models import edited_fields
from penstock_web.models import Answered, Asked
from penstock_web.models.runs import Run

__all__ = ["DELETE_PROJECT", "DELETE_RUN", "DELETE_RUNS", "EDIT_RUN", "Deleted"]

_MAX_RUNS = 1_000


class RunEdit(model_of(Asked, edited_fields())):  # type: ignore[misc]
    """The fields to change; others stay as they are."""

    project: str | None = Field(
        None, description="Move the run to this project of the same entity, created if necessary."
    )


class RunsToDelete(Asked):
    runs: list[str] = Field(min_length=1, max_length=_MAX_RUNS, description="Run ids.")


class Deleted(Answered):
    deleted: int = Field(description="Number of runs deleted.")


_ERRORS = (400, 401, 403, 404, 410, 413)

EDIT_RUN = Operation(
    "PATCH", "/v1/runs/{entity}/{project}/{run}", "edit", "Edit a run or move it to another project",
    answers={200: Run, 202: Run}, body=RunEdit, errors=(*_ERRORS, 409),
)  # fmt: skip

DELETE_RUN = Operation(
    "DELETE", "/v1/runs/{entity}/{project}/{run}", "edit", "Delete a run permanently",
    answers={200: Deleted}, errors=(401, 403, 404, 410),
)  # fmt: skip

DELETE_RUNS = Operation(
    "POST", "/v1/projects/{entity}/{project}/runs/delete", "edit", "Delete several runs permanently",
    answers={200: Deleted}, body=RunsToDelete, errors=_ERRORS,
)  # fmt: skip

DELETE_PROJECT = Operation(
    "DELETE", "/v1/projects/{entity}/{project}", "edit", "Delete a project and all its runs permanently",
    answers={200: Deleted}, errors=(401, 403, 404),
)  # fmt: skip
