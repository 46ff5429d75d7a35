"""The artifacts that a run logged, read back through the official client's public API."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from support.up import Up
from support.wandb_scripts import run_wandb

__all__ = ["hashes_below", "logged_artifacts"]

_CODE = """
import hashlib, json, pathlib, sys, wandb
found = []
for artifact in wandb.Api().run(sys.argv[1]).logged_artifacts():
    folder = pathlib.Path(artifact.download())
    hashes = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*") if path.is_file()
    }
    found.append([artifact.name, artifact.type, hashes])
print(json.dumps(found))
"""


def logged_artifacts(up: Up, path: str) -> list[tuple[str, str, dict[str, str]]]:
    """(name with version, type, file -> SHA-256) of each, downloaded anew."""
    shown = run_wandb(up, _CODE, path).check().stdout
    return [(name, kind, hashes) for name, kind, hashes in json.loads(shown.splitlines()[-1])]


def hashes_below(folder: Path) -> set[str]:
    """The SHA-256 of each file somewhere in a folder."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
