"""Logged values other than numbers: images, tables, histograms and so on."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from penstock_common.http.openapi import Operation
from penstock_web.models import Answered, Asked, CommaList

__all__ = ["GET_MEDIA", "GET_RUN_MEDIA", "LIST_MEDIA_KEYS", "Media", "MediaKeys", "MediaQuery"]

_STEP = 2**60


class MediaKeysQuery(Asked):
    runs: CommaList | None = Field(
        None, max_length=10_000, description="Only keys of these runs. Defaults to all runs."
    )


class MediaKeyOfProject(Answered):
    key: str
    kinds: list[str] = Field(description="image-file, table-file, histogram …")
    runs: int = Field(description="Number of runs that have values for this key.")


class MediaKeys(Answered):
    keys: list[MediaKeyOfProject] = Field(description="Sorted by name.")


class MediaQuery(Asked):
    key: str = Field(min_length=1, max_length=512)
    step: int | None = Field(
        None, gt=-_STEP, lt=_STEP,
        description="Values logged at or before this step. Defaults to the last step.",
    )  # fmt: skip
    most: int = Field(
        1,
        ge=1,
        le=500,
        description="Maximum number of values per run, evenly spread and including the last.",
    )


class MediaRequest(MediaQuery):
    entity: str = Field(min_length=1, max_length=128)
    project: str = Field(min_length=1, max_length=128)
    runs: list[str] = Field(max_length=1_000)


class MediaValueAtStep(Answered):
    step: int
    kind: str
    value: Any = Field(description="The value as logged; files it names are files of the run.")


class MediaOfRun(Answered):
    run: str
    steps: list[int] = Field(description="All steps at which the run has a value.")
    values: list[MediaValueAtStep]


class Media(Answered):
    key: str
    runs: list[MediaOfRun] = Field(
        description="In the requested order, without runs that have no value."
    )


LIST_MEDIA_KEYS = Operation(
    "GET", "/v1/projects/{entity}/{project}/media", "media",
    "List keys with values other than numbers",
    answers={200: MediaKeys}, query=MediaKeysQuery, needs_key=False,
)  # fmt: skip

GET_MEDIA = Operation(
    "POST", "/v1/media", "media", "Get a key's values at a step in several runs",
    answers={200: Media}, body=MediaRequest, needs_key=False,
)  # fmt: skip

GET_RUN_MEDIA = Operation(
    "GET", "/v1/runs/{entity}/{project}/{run}/media", "media",
    "Get a key's values at a step in a run",
    answers={200: Media}, query=MediaQuery, needs_key=False,
)  # fmt: skip
