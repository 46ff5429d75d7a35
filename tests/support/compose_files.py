"""The compose files of deploy/, read in two ways: as `docker compose` understands them, and as they are
written."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from benchmarks.compose.model import Service, load_model, load_services

__all__ = ["DEPLOY", "FILES", "make_env", "model_of", "services_of", "written"]

DEPLOY = Path(__file__).parents[2] / "deploy"
FILES = {
    "full": (DEPLOY / "compose.yaml",),
    "store": (DEPLOY / "compose.yaml", DEPLOY / "compose.store.yaml"),
    "trial": (DEPLOY / "compose.trial.yaml",),
}


def make_env(path: Path) -> None:
    """Write secrets as a user does."""
    subprocess.run([DEPLOY / "compose" / "make-env", path], check=True, capture_output=True)


@cache
def model_of(name: str, env_file: Path) -> dict[str, Any]:
    """What `docker compose config` prints, with every profile."""
    return load_model(FILES[name], env_file, "*")


def services_of(name: str, env_file: Path) -> dict[str, Service]:
    return load_services(model_of(name, env_file))[0]


def written(path: Path) -> dict[str, Any]:
    """The file as it is, with anchors resolved, before variables are replaced."""
    untagged = path.read_text().replace("!override", "")
    content: dict[str, Any] = yaml.safe_load(untagged)
    return content
