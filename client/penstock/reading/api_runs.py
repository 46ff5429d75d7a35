"""What `penstock.Api()` returns: runs as they were when they were read, lists of them, and projects."""

# pandas is loaded only if a table is requested.
# ruff: noqa: PLC0415

from __future__ import annotations

import copy
import datetime
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload
from urllib.parse import quote

from penstock.errors import NotSupported
from penstock.kernel import page_frame, show_page
from penstock.reading.reader import section_of
from penstock.surface.absent import absent, usable
from penstock.surface.reading_names import API_RUN, PROJECT, RUNS
from penstock.wire.run_fields import PLAIN_FIELDS, FieldShape

if TYPE_CHECKING:
    from penstock.reading.api import Api
    from penstock.reading.api_sweeps import ApiSweep

__all__ = ["ApiRun", "Project", "Runs"]

_ALWAYS = ("_step", "_timestamp", "_runtime")
_LANE = ("_rank", "_lane")
_POLL_S = 2.0


class Project:
    """A project: `.entity`, `.name`, `.run_count`, `.created_at`, `.url`."""

    def __init__(self, api: Api, fields: Mapping[str, Any]) -> None:
        self._api = api
        self.entity = str(fields["entity"])
        self.name = str(fields["project"])
        self.run_count = int(fields["runs"])
        self.created_at = _iso(fields["created_at"])

    @property
    def path(self) -> list[str]:
        """[entity, name]"""
        return [self.entity, self.name]

    @property
    def url(self) -> str:
        """The page of the project."""
        return f"{self._api.settings.base_url}/?project={quote('/'.join(self.path), safe='/')}"

    def sweeps(self) -> list[ApiSweep]:
        """Its sweeps, newest first."""
        return self._api.sweeps(*self.path)

    def __getattr__(self, name: str) -> Any:
        return absent({} if name.startswith("_") else PROJECT, name, "project")

    def __repr__(self) -> str:
        return f"<Project {self.entity}/{self.name}>"


class ApiRun:
    """A run, as of when it was read. Its name, notes, tags, group and job type can be assigned; `update` sends
    them."""

    _config: tuple[dict[str, Any], dict[str, Any]] | None = None
    """As it was read, and as it was given out, since a script may change that."""

    def __init__(self, api: Api, fields: Mapping[str, Any]) -> None:
        self._api = api
        self._fields = fields

    def load(self, force: bool = True) -> ApiRun:
        """Read the run again; changes that were not sent are lost."""
        self._fields = self._api.get("runs", *self.path)
        self._config = None
        for name in PLAIN_FIELDS:
            self.__dict__.pop(name, None)
        return self

    load_full_data = load

    def update(self) -> None:
        """Send what was assigned, or changed in `tags`.

        Raises NotSupported if the config was changed: only the run itself sets it.
        """
        if self._config is not None and self._config[0] != self._config[1]:
            raise NotSupported("run.update() cannot change the config: only the run itself sets it")
        given = {name: self.__dict__[name] for name in PLAIN_FIELDS if name in self.__dict__}
        changed = {name: value for name, value in given.items() if value != self._stored(name)}
        if changed:
            self._fields = self._api.edit("PATCH", self.path, changed)

    save = update

    def delete(self, delete_artifacts: bool = False) -> None:
        """Delete the run on the server permanently."""
        self._api.edit("DELETE", self.path)

    def wait_until_finished(self) -> None:
        """Wait until the run has ended."""
        while self.load().state == "running":
            time.sleep(_POLL_S)

    @property
    def id(self) -> str:
        return str(self._fields["run"])

    @property
    def entity(self) -> str:
        return str(self._fields["entity"])

    @property
    def project(self) -> str:
        return str(self._fields["project"])

    @property
    def path(self) -> list[str]:
        """[entity, project, id]"""
        return [self.entity, self.project, self.id]

    @property
    def state(self) -> str:
        """running, finished, failed, crashed or preempting"""
        return str(self._fields["state"])

    @property
    def config(self) -> dict[str, Any]:
        if self._config is None:
            read = section_of(self._fields, "config")
            self._config = read, copy.deepcopy(read)
        return self._config[1]

    @property
    def rawconfig(self) -> dict[str, Any]:
        return self.config

    @property
    def json_config(self) -> str:
        """The config as JSON, each entry as `{"value": …}`."""
        return json.dumps({name: {"value": value} for name, value in self.config.items()})

    @property
    def username(self) -> str:
        return self.entity

    @property
    def sweep(self) -> ApiSweep | None:
        """The sweep that it is a trial of."""
        name = self.sweep_name
        return None if name is None else self._api.sweep("/".join((*self.path[:2], name)))

    @property
    def sweep_name(self) -> str | None:
        """The id of the sweep that it is a trial of."""
        found = self.metadata.get("sweep")
        return None if found is None else str(found)

    @property
    def summary(self) -> dict[str, Any]:
        """The last value of each key, or the value set by the script."""
        found = section_of(self._fields, "summary")
        if self.last_step is not None:
            found.setdefault("_step", self.last_step)
        return found

    @property
    def summary_metrics(self) -> dict[str, Any]:
        return self.summary

    def __getattr__(self, name: str) -> Any:
        """The plain fields: name, group, tags and so on; a text, or a list of them."""
        if name not in PLAIN_FIELDS:
            return absent({} if name.startswith("_") else API_RUN, name, "run")
        found = self.__dict__[name] = self._stored(name)
        return found

    def _stored(self, name: str) -> Any:
        is_list = PLAIN_FIELDS[name].shape is FieldShape.TEXTS
        return list(self._fields[name]) if is_list else str(self._fields[name] or "")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *PLAIN_FIELDS, *usable(API_RUN)]

    @property
    def metadata(self) -> dict[str, Any]:
        """Host, program, Python version and so on."""
        return dict(self._fields["info"])

    @property
    def created_at(self) -> str:
        """ISO 8601, UTC."""
        return _iso(self._fields["created_at"])

    @property
    def last_step(self) -> int | None:
        """The highest step logged; None if there is none."""
        step = self._fields["last_step"]
        return None if step is None else int(step)

    @property
    def lastHistoryStep(self) -> int:
        return -1 if self.last_step is None else self.last_step

    @property
    def url(self) -> str:
        """The page that shows this run."""
        place = quote(f"{self.entity}/{self.project}", safe="/")
        return f"{self._api.settings.base_url}/?project={place}&run={quote(self.id)}"

    def history(
        self,
        samples: int = 500,
        keys: Sequence[str] | None = None,
        x_axis: str = "_step",
        pandas: bool = True,
        stream: str = "default",
    ) -> Any:
        """At most `samples` rows, evenly spaced over the run: a DataFrame, or with `pandas=False`
        (or without pandas) a list of dicts. `keys`: only rows that have all of these.

        For every row use `scan_history`.
        """
        if stream != "default":
            return _table([], x_axis, pandas)
        if keys is not None and x_axis not in keys:
            keys = [x_axis, *keys]
        rows = _thinned(self.scan_history(keys=keys), max(1, samples))
        return _table(rows, x_axis, pandas)

    def scan_history(
        self,
        keys: Sequence[str] | None = None,
        page_size: int = 1000,
        min_step: int | None = None,
        max_step: int | None = None,
        *,
        lanes: Literal["latest", "all"] = "latest",
    ) -> Iterator[dict[str, Any]]:
        """Every row from `min_step` to before `max_step`, streamed, in step order. `keys`: only
        rows that have all of these, and only these. `page_size` has no effect.

        A step has one row, in which low ranks come first and later attempts replace earlier ones;
        with `lanes="all"` it has one of each rank, attempt and process beside them, with `_rank` and `_lane`.
        """
        if keys is not None and lanes == "all":
            keys = [*keys, *(name for name in _LANE if name not in keys)]
        plain = [key for key in keys or () if key not in (*_ALWAYS, *_LANE)]
        if any("," in key for key in plain):
            plain = []  # the server would split them: check here
        rows = self._api.rows(
            *("runs", *self.path, "history"),
            keys=plain,
            min_step=min_step,
            max_step=max_step,
            lanes=lanes,
        )
        for row in rows:
            if keys is None:
                yield row
            elif all(key in row for key in keys):
                yield {key: row[key] for key in keys}

    beta_scan_history = scan_history

    def to_html(self, height: int = 420, hidden: bool = False) -> str:
        """The run's page as HTML for a notebook."""
        return page_frame(self.url, height, is_hidden=hidden)

    def display(self, height: int = 420, hidden: bool = False) -> bool:
        """Show the run's page in a notebook; returns whether this is one."""
        return show_page(self.to_html(height, hidden))

    def __repr__(self) -> str:
        return f"<Run {'/'.join(self.path)} ({self.state})>"


class Runs(Sequence[ApiRun]):
    """The runs of a project that match the filters, read page by page on demand. `len()` is their
    number when the first page was read."""

    def __init__(self, api: Api, entity: str, project: str, question: dict[str, Any]) -> None:
        self._api = api
        self.entity = entity
        self.project = project
        self._question = question
        self._found: list[ApiRun] = []
        self._total: int | None = None
        self._next: str | None = None

    @property
    def more(self) -> bool:
        """Whether some runs have not been read yet."""
        return self._total is None or self._next is not None

    def _read_page(self) -> None:
        question = self._question
        if self._next is not None:
            question = {**question, "after": self._next}
        place = ("projects", self.entity, self.project, "runs", "search")
        page = self._api.post(*place, question=question)
        self._found += (ApiRun(self._api, row) for row in page["runs"])
        self._next = page["next"]
        if self._total is None:
            self._total = int(page["total"])

    def _read_to(self, count: int | None) -> list[ApiRun]:
        """Load at least the first `count` runs, or all."""
        while self.more and (count is None or len(self._found) < count):
            self._read_page()
        return self._found

    @overload
    def __getitem__(self, index: int) -> ApiRun: ...

    @overload
    def __getitem__(self, index: slice) -> list[ApiRun]: ...

    def __getitem__(self, index: int | slice) -> ApiRun | list[ApiRun]:
        end = index.stop if isinstance(index, slice) else index + 1
        starts = (index.start or 0) if isinstance(index, slice) else index
        from_the_end = end is None or end < 0 or starts < 0
        return self._read_to(None if from_the_end else end)[index]

    def __len__(self) -> int:
        if self._total is None:
            self._read_page()
        return self._total or 0

    def __iter__(self) -> Iterator[ApiRun]:
        place = 0
        while len(self._read_to(place + 1)) > place:
            yield self._found[place]
            place += 1

    def __getattr__(self, name: str) -> Any:
        return absent({} if name.startswith("_") else RUNS, name, "runs")

    def __repr__(self) -> str:
        return f"<Runs {self.entity}/{self.project}>"


def _iso(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def _thinned(rows: Iterator[dict[str, Any]], samples: int) -> list[dict[str, Any]]:
    """At most `samples` evenly spaced rows, including the last, in bounded memory."""
    kept: list[dict[str, Any]] = []
    stride, last = 1, None
    for place, row in enumerate(rows):
        last = row
        if place % stride:
            continue
        kept.append(row)
        if len(kept) >= 2 * samples:
            kept = kept[::2]
            stride *= 2
    if len(kept) > samples:
        kept = kept[::2]
    if last is not None and kept[-1] is not last:
        kept[-1 if len(kept) == samples else len(kept) :] = [last]
    return kept


def _table(rows: list[dict[str, Any]], x_axis: str, pandas: bool) -> Any:
    if not pandas:
        return rows
    try:
        from pandas import DataFrame  # type: ignore[import-untyped]
    except ImportError:
        return rows
    frame = DataFrame.from_records(rows)
    if x_axis in frame.columns:
        frame = frame[[x_axis, *(name for name in frame.columns if name != x_axis)]]
    return frame
