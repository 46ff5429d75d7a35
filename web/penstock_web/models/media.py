"""Logged values that are no scalars: images, tables, histograms and so on."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from penstock_common.openapi import Operation
from penstock_web.models import Answered, Asked, CommaList

__all__ = ["OPERATIONS", "Media", "MediaAsked", "MediaKeys", "MediaKeysQuery", "MediaQuery"]

_STEP = 2**60


class MediaKeysQuery(Asked):
    runs: CommaList | None = Field(
        None, max_length=10_000, description="Only keys of these runs; of all runs if not given."
    )


class MediaKeyOfProject(Answered):
    key: str
    kinds: list[str] = Field(description="image-file, table-file, histogram …")
    runs: int = Field(description="How many runs have values of it.")


class MediaKeys(Answered):
    keys: list[MediaKeyOfProject] = Field(description="By name.")


class MediaQuery(Asked):
    key: str = Field(min_length=1, max_length=512)
    step: int | None = Field(
        None, gt=-_STEP, lt=_STEP,
        description="Values logged at this step or before; up to the last if not given.",
    )  # fmt: skip
    most: int = Field(
        1,
        ge=1,
        le=500,
        description="At most so many values of a run, spread evenly, the last included.",
    )


class MediaAsked(MediaQuery):
    entity: str = Field(min_length=1, max_length=128)
    project: str = Field(min_length=1, max_length=128)
    runs: list[str] = Field(max_length=1_000)


class MediaValueAtStep(Answered):
    step: int
    kind: str
    value: Any = Field(description="As it was logged; files that it names are files of the run.")


class MediaOfRun(Answered):
    run: str
    steps: list[int] = Field(description="Every step at which the run has a value.")
    values: list[MediaValueAtStep]


class Media(Answered):
    key: str
    runs: list[MediaOfRun] = Field(
        description="In the order asked for; without those that have none."
    )


OPERATIONS = [
    Operation(
        "GET", "/v1/projects/{entity}/{project}/media", "media",
        "Keys with values that are no scalars",
        answers={200: MediaKeys}, query=MediaKeysQuery, needs_key=False,
    ),
    Operation(
        "POST", "/v1/media", "media", "What a key holds at a step, in several runs",
        answers={200: Media}, body=MediaAsked, needs_key=False,
    ),
    Operation(
        "GET", "/v1/runs/{entity}/{project}/{run}/media", "media",
        "What a key holds at a step in a run",
        answers={200: Media}, query=MediaQuery, needs_key=False,
    ),
]  # fmt: skip
