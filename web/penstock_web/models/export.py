"""Exports: a run's rows as a file, and a project's runs as lines of JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from penstock_common.http.openapi import Operation, Raw
from penstock_web.models import Answered, Asked, CommaList
from penstock_web.models.runs import Run

__all__ = [
    "EXPORT_PROJECT",
    "EXPORT_RUN",
    "LIST_EXPORT_PARTS",
    "ExportParameters",
    "ExportPart",
    "ExportParts",
    "ExportedRun",
    "PartsQuery",
]

_STEP = 2**60


class PartsQuery(Asked):
    layout: Literal["wide", "long"] = Field(
        "wide",
        description="wide: one row per step, one column per key; long: one row per key and step.",
    )
    keys: CommaList = Field([], max_length=10_000, description="Keys to export. Defaults to all.")
    lanes: Literal["latest", "all"] = Field(
        "latest",
        description="latest: as in history; all: rows of every lane, with `_rank` and `_lane`.",
    )
    min_step: int = Field(-_STEP, ge=-_STEP, le=_STEP, description="First step to export.")
    max_step: int = Field(_STEP, ge=-_STEP, le=_STEP, description="Stop before this step.")


class ExportParameters(PartsQuery):
    format: Literal["parquet", "csv"] = "parquet"


class ExportPart(Answered):
    min_step: int
    max_step: int


class ExportColumn(Answered):
    name: str = Field(description="The key; also the column's name in wide tables, unless taken.")
    kind: Literal["float", "integer", "string", "bool", "json"]


class ExportParts(Answered):
    version: str = Field(description="Changes with every commit to the run.")
    columns: list[ExportColumn]
    parts: list[ExportPart] = Field(description="`min_step` and `max_step` of each file to fetch.")


class ExportedRun(Run):
    version: str = Field(description="As in the run's export parts; empty if it logged nothing.")


_FILE = (
    Raw("application/vnd.apache.parquet", "One Parquet file."),
    Raw("text/csv", "CSV with a header row."),
)

EXPORT_RUN = Operation(
    "GET", "/v1/runs/{entity}/{project}/{run}/export", "export", "Export a run's rows as a file",
    answers={200: _FILE, 204: None}, query=ExportParameters, errors=(400, 401, 404, 410, 413), needs_key=False,
    allow_head=False,
)  # fmt: skip

LIST_EXPORT_PARTS = Operation(
    "GET", "/v1/runs/{entity}/{project}/{run}/export/parts", "export",
    "List the parts in which to export a run's rows",
    answers={200: ExportParts}, query=PartsQuery, errors=(400, 401, 404, 410), needs_key=False,
)  # fmt: skip

EXPORT_PROJECT = Operation(
    "GET", "/v1/projects/{entity}/{project}/export", "export",
    "Export all runs of a project with config, summary and version as lines of JSON",
    answers={200: Raw("application/x-ndjson", "One `ExportedRun` per line.")},
    errors=(401, 404), needs_key=False, allow_head=False,
)  # fmt: skip
