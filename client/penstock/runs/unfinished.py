"""The last run of a script on this machine, as long as it has not finished: `init(resume="auto")` finds it.

A script is a program that logs to a project, with a rank. Nothing here raises: without the note, the next
run is a new one.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from penstock.bounded import within
from penstock.settings import Settings, program
from penstock.spool.meta import replace_json
from penstock.spool.root import host_root
from penstock.spool.spool_folder import is_writer_alive

__all__ = ["find_unfinished", "note_finished", "note_started"]

_FOLDER = "unfinished"


def note_started(root: Path, settings: Settings, run: str, writer: str) -> None:
    path = _path(root, settings)
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        replace_json(path, {"run": run, "writer": writer})


def note_finished(root: Path, settings: Settings) -> None:
    with suppress(OSError):
        _path(root, settings).unlink(missing_ok=True)


def find_unfinished(settings: Settings) -> str | None:
    """The id of the script's last run, if that ended without finishing and nobody logs to it now."""
    root = settings.root

    def find() -> str | None:
        own = host_root(root, settings.host_name)
        found = json.loads(_path(own, settings).read_text())
        return None if is_writer_alive(own / str(found["writer"])) else str(found["run"])

    with suppress(OSError, ValueError, TypeError, KeyError):
        return within(str(root), find)
    return None


def _path(root: Path, settings: Settings) -> Path:
    names = (
        settings.base_url, settings.entity or "", settings.project, program(), str(settings.rank)
    )  # fmt: skip
    script = hashlib.sha256("\0".join(names).encode(errors="surrogatepass")).hexdigest()[:16]
    return root / _FOLDER / f"{script}.json"
