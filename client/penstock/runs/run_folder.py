"""The folder of a run's own files, `run.dir`: beside the spools, and kept after the run.

It lies deeper than a spool could, whatever the run and the files in it are called, so that nothing takes it for one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import quote

from penstock.notices import NOTICES

__all__ = ["run_folder"]

_PLACE = ("files", "runs")
_MAX_NAME_CHARS = 200


def run_folder(root: Path | None, project: str, run: str) -> str:
    """Its path, created if necessary; a new temporary folder if there is no root or it cannot be written.

    Says once that files in it stay on this machine.
    """
    if root is not None:
        name = f"{quote(project, safe='')}={quote(run, safe='')}"
        if len(name) > _MAX_NAME_CHARS:
            name = f"{name[:100]}={hashlib.sha256(name.encode()).hexdigest()[:32]}"
        folder = root.joinpath(*_PLACE, name)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            NOTICES.warn("run.dir", f"{folder} cannot be created: {error.strerror}")
        else:
            NOTICES.warn(
                "run.dir", f"files in {folder} stay on this machine: they are not uploaded yet"
            )
            return str(folder)
    import tempfile  # noqa: PLC0415  (rarely needed)

    return tempfile.mkdtemp(prefix="penstock-run-")
