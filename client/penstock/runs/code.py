"""`log_code`: keeps files of source code with a run, as `code/…`.

They are copied into the spool at once, so that later changes are not in them, and uploaded like everything else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.notices import NOTICES

if TYPE_CHECKING:
    from penstock.runs.run import Run

__all__ = ["log_code"]

MOST_FILES, MOST_FILE_BYTES, MOST_BYTES = 1_000, 4 << 20, 64 << 20
_CODE = (".py", ".pyx", ".ipynb")
_CODE_NAMES = ("requirements.txt", "pyproject.toml", "Dockerfile")
_NO_CODE = frozenset({"__pycache__", "node_modules", "site-packages", "wandb", "venv"})
"""Folders that hold no code of the user's; hidden ones and environments do not either."""


def log_code(
    run: Run,
    root: Any = ".",
    name: str | None = None,
    include_fn: Callable[..., bool] | None = None,
    exclude_fn: Callable[..., bool] | None = None,
) -> int:
    """Keep the files below `root` that `include_fn(path, root)` wants and `exclude_fn(path, root)` does not;
    both may take the path only. By default: Python files, notebooks and lists of requirements.

    Returns how many files are kept. At most 1,000 of 4 MiB each, 64 MiB in total: the first ones by name; one
    warning says what was left out. `name` has no effect. Never raises.
    """
    if run.disabled or run.finished or not run.is_kept:
        return 0
    try:
        return _Keeping(run).keep(Path(os.fspath(root)).absolute(), include_fn, exclude_fn)
    except Exception as error:  # the seam: functions of the user's, folders that cannot be read
        NOTICES.warn("log_code failed", f"log_code: {error!r}; the files before that are kept")
        return 0


class _Keeping:
    """One call."""

    def __init__(self, run: Run) -> None:
        self._folder = run._writer.spool().folder
        self._count = self._bytes = self._left_out = 0

    def keep(
        self,
        root: Path,
        include: Callable[..., bool] | None,
        exclude: Callable[..., bool] | None,
    ) -> int:
        from penstock.spool.files import add_file  # noqa: PLC0415  (only here: `init` stays cheap)

        for path in _files_below(root, is_own_choice=include is not None):
            if not _says(include or _is_code, path, root):
                continue
            if exclude is not None and _says(exclude, path, root):
                continue
            content = self._content(path)
            if content is None:
                self._left_out += 1
                continue
            add_file(self._folder, f"code/{path.relative_to(root).as_posix()}", content)
            self._count += 1
            self._bytes += len(content)
        if self._left_out:
            NOTICES.warn(
                "log_code",
                f"log_code: {self._left_out} files below {root} are not kept: at most {MOST_FILES:,} of"
                f" {MOST_FILE_BYTES >> 20} MiB each are, {MOST_BYTES >> 20} MiB in total; choose with include_fn",
            )
        return self._count

    def _content(self, path: Path) -> bytes | None:
        """None if it is too much, or cannot be read."""
        try:
            size = path.stat().st_size
            if self._count >= MOST_FILES or size > MOST_FILE_BYTES:
                return None
            if self._bytes + size > MOST_BYTES:
                return None
            content = path.read_bytes()
        except OSError:
            return None
        return content if len(content) <= MOST_FILE_BYTES else None


def _files_below(root: Path, *, is_own_choice: bool) -> Iterator[Path]:
    """In the order of their names; links to folders are not followed."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(
            each
            for each in folders
            if is_own_choice or not (each.startswith(".") or each in _NO_CODE)
        )
        if not is_own_choice and "pyvenv.cfg" in names:
            folders[:] = []
            continue
        for each in sorted(names):
            path = Path(folder, each)
            if path.is_file():
                yield path


def _is_code(path: str, root: str) -> bool:
    name = os.path.basename(path)  # noqa: PTH119 (a text, as the user's functions get)
    return name.endswith(_CODE) or name in _CODE_NAMES


def _says(function: Callable[..., bool], path: Path, root: Path) -> bool:
    """What a function of one or two arguments says."""
    import inspect  # noqa: PLC0415  (only here)

    try:
        inspect.signature(function).bind(str(path), str(root))
    except TypeError:
        return bool(function(str(path)))
    return bool(function(str(path), str(root)))
