"""`penstock export`: writes a run or a whole project to files that pandas, Polars and DuckDB read.

    DIR/export.json                            what this folder exports
    DIR/runs.jsonl                             every run with config and summary, one per line
    DIR/history/run=a1b2c3d4/000000.parquet    its rows, in one or more parts

A file gets its name only once it is complete and on disk, so an export can be repeated after any
interruption: files unchanged on the server are kept, the rest is fetched.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from penstock.command_codes import CommandCode
from penstock.errors import Rejected, Transient
from penstock.reading.reader import Reader
from penstock.settings import Settings

__all__ = ["Exporter", "folder_of", "run_export"]

T = TypeVar("T")

_FORMAT = 1
_ABOUT, _RUNS, _HISTORY, _STATE = "export.json", "runs.jsonl", "history", "_parts.json"
_TRIES, _PAUSE_S = 5, 1.0
_UNSAFE = re.compile(r'[%=:*?"<>|\x00-\x1f]')


def run_export(
    place: str, folder: Path, options: Mapping[str, Any], say: Callable[[str], None]
) -> int:
    """Export `project`, `entity/project` or `entity/project/run` from the configured server.

    Returns the number of runs that changed meanwhile. Raises PenstockError.
    """
    names = [name for name in place.strip("/").split("/") if name]
    if not 1 <= len(names) <= 3:
        raise Rejected(f"{place!r} is not ENTITY/PROJECT[/RUN]", code=CommandCode.BAD_PATH)
    settings = Settings.resolve(None, {})
    reader = Reader(settings.base_url, settings.ca_file, settings.proxies)
    key = settings.key
    if len(names) == 1:
        names.insert(0, settings.entity or str(reader.get("/v1/viewer", key)["entity"]))
    exporter = Exporter(
        reader, key, folder, entity=names[0], project=names[1], options=options, say=say
    )
    fetched = exporter.export_run(names[2]) if len(names) == 3 else exporter.export_project()
    say(f"{fetched} runs exported, the others were up to date; everything is in {folder}")
    if exporter.changed:
        say(
            f"{exporter.changed} runs were still being written to; export again for their latest rows"
        )
    return exporter.changed


def folder_of(run: str) -> str:
    """A run's folder; readers of partitioned tables turn its name into a column `run`."""
    return "run=" + _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", run)


class Exporter:
    """Exports `entity/project` into `folder`. `options` are the query of `GET …/export`."""

    def __init__(
        self,
        reader: Reader,
        api_key: str,
        folder: Path,
        *,
        entity: str,
        project: str,
        options: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> None:
        self._reader = reader
        self._key = api_key
        self._folder = folder
        self._entity, self._project = entity, project
        self._options = dict(options)
        self._say = say
        self.changed = 0
        """Runs that received data during the export, which lacks their latest rows."""

    def export_project(self) -> int:
        """Export all runs; returns the number of runs fetched."""
        self._open()
        path = self._path("projects", "export")
        lines = self._folder / f".{_RUNS}.part"
        _repeatedly(lambda: self._fetch(path, lines))
        fetched = 0
        with lines.open(encoding="utf-8") as file:
            total = sum(1 for _ in file)
            file.seek(0)
            for number, line in enumerate(file, 1):
                fetched += self._export(json.loads(line), f"{number}/{total}")
        # Last: it records which state of the runs the files have.
        _keep(lines, self._folder / _RUNS)
        return fetched

    def export_run(self, run: str) -> int:
        """Export one run; returns 1 if it had to be fetched."""
        self._open()
        path = self._path("runs", run)
        found = _repeatedly(lambda: self._reader.get(path, self._key))
        fetched = self._export(found, "1/1")
        known = {each["run"]: each for each in _lines(self._folder / _RUNS)}
        known[run] = found
        text = "".join(json.dumps(each) + "\n" for each in known.values())
        _write(self._folder / _RUNS, text)
        return fetched

    def _open(self) -> None:
        """Start the folder, or check that it belongs to this export."""
        self._folder.mkdir(parents=True, exist_ok=True)
        about = {
            "format": _FORMAT,
            "server": self._reader.base.geturl(),
            "entity": self._entity,
            "project": self._project,
            "options": self._options,
        }
        path = self._folder / _ABOUT
        if not path.exists():
            if any(self._folder.iterdir()):
                raise Rejected(f"{self._folder} contains other files", code=CommandCode.NOT_EMPTY)
            _write(path, json.dumps(about, indent=2))
        elif _json(path) != about:
            raise Rejected(
                f"{self._folder} contains another export",
                code=CommandCode.OTHER_EXPORT,
                hint=f"{path} describes it. Choose another folder.",
            )

    def _export(self, run: Mapping[str, Any], place: str) -> int:
        """Fetch a run's missing or changed parts."""
        folder = self._folder / _HISTORY / folder_of(run["run"])
        state = _json(folder / _STATE)
        if state.get("done") and state["version"] == run.get("version"):
            return 0
        listed = self._listed(run["run"])
        wanted = {"version": listed["version"], "parts": listed["parts"]}
        if {name: state.get(name) for name in wanted} != wanted:
            # Files from two states of a run must never be mixed.
            _empty(folder)
            _write(folder / _STATE, json.dumps({**wanted, "done": False}))
        elif state["done"]:
            return 0
        self._fetch_parts(run["run"], folder, listed["parts"], place)
        if listed["parts"] and self._listed(run["run"])["version"] != listed["version"]:
            self.changed += 1
        _write(folder / _STATE, json.dumps({**wanted, "done": True}))
        return 1

    def _listed(self, run: str) -> dict[str, Any]:
        options = {name: value for name, value in self._options.items() if name != "format"}
        path = self._path("runs", run, "export", "parts") + _query(options)
        return _repeatedly(lambda: self._reader.get(path, self._key))

    def _fetch_parts(self, run: str, folder: Path, parts: list[dict[str, int]], place: str) -> None:
        suffix = self._options["format"]
        path = self._path("runs", run, "export")
        for number, part in enumerate(parts):
            final = folder / f"{number:06d}.{suffix}"
            if final.exists():
                continue
            self._say(f"run {place} {run}: part {number + 1}/{len(parts)}")
            unfinished = folder / f".{number:06d}.part"
            query = path + _query({**self._options, **part})
            _repeatedly(partial(self._fetch, query, unfinished))
            if unfinished.stat().st_size:
                _keep(unfinished, final)
            else:  # its rows were deleted meanwhile
                unfinished.unlink()

    def _fetch(self, path: str, target: Path) -> None:
        with target.open("wb") as file:
            for piece in self._reader.pieces(path, self._key):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())

    def _path(self, kind: str, *segments: str) -> str:
        names = (kind, self._entity, self._project, *segments)
        return "/v1/" + "/".join(quote(name, safe="") for name in names)


def _query(options: Mapping[str, Any]) -> str:
    return "?" + urlencode(options, doseq=True)


def _repeatedly(action: Callable[[], T]) -> T:
    """Call `action`, with retries while the server is unavailable."""
    for attempt in range(1, _TRIES):
        try:
            return action()
        except Transient as error:
            time.sleep(error.retry_after_s or _PAUSE_S * attempt)
    return action()


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _json(path: Path) -> dict[str, Any]:
    """The object in a file; empty if there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found if isinstance(found, dict) else {}


def _empty(folder: Path) -> None:
    """Create a folder, or remove an earlier export's files from it."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()


def _write(path: Path, text: str) -> None:
    """Write a file atomically."""
    unfinished = path.with_name(f".{path.name}.part")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    _keep(unfinished, path)


def _keep(unfinished: Path, final: Path) -> None:
    """Flush a file to disk and give it its final name."""
    unfinished.replace(final)
    descriptor = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
