"""W&B's `env`: the names of its variables, as far as Penstock reads them, and a few of their values."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

__all__ = [
    "get_base_url",
    "get_entity",
    "get_project",
    "is_debug",
    "set_base_url",
    "set_entity",
    "set_project",
]

API_KEY = "WANDB_API_KEY"
BASE_URL = "WANDB_BASE_URL"
DIR = "WANDB_DIR"
ENTITY = "WANDB_ENTITY"
HOST = "WANDB_HOST"
JOB_TYPE = "WANDB_JOB_TYPE"
MODE = "WANDB_MODE"
NAME = "WANDB_NAME"
NOTES = "WANDB_NOTES"
PROJECT = "WANDB_PROJECT"
QUIET = "WANDB_QUIET"
RESUME = "WANDB_RESUME"
RUN_GROUP = "WANDB_RUN_GROUP"
RUN_ID = "WANDB_RUN_ID"
SILENT = "WANDB_SILENT"
SWEEP_ID = "WANDB_SWEEP_ID"
TAGS = "WANDB_TAGS"

Environment = MutableMapping[str, str]


def get_project(default: str | None = None, env: Environment | None = None) -> str | None:
    return _of(env).get(PROJECT, default)


def get_entity(default: str | None = None, env: Environment | None = None) -> str | None:
    return _of(env).get(ENTITY, default)


def get_base_url(default: str | None = None, env: Environment | None = None) -> str | None:
    return _of(env).get(BASE_URL, default)


def set_project(value: str, env: Environment | None = None) -> None:
    _of(env)[PROJECT] = value


def set_entity(value: str, env: Environment | None = None) -> None:
    _of(env)[ENTITY] = value


def set_base_url(value: str, env: Environment | None = None) -> None:
    _of(env)[BASE_URL] = value


def is_debug(default: str | None = None, env: Environment | None = None) -> bool:
    return False


def _of(env: Environment | None) -> Environment:
    return os.environ if env is None else env
