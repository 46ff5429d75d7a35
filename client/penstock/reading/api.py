"""`penstock.Api()`: reads runs and their history, shaped like W&B's API.

    api = penstock.Api()
    run = api.run("mnist/a1b2c3d4")
    run.history(samples=500)           # evenly sampled, a DataFrame if pandas is installed
    for row in run.scan_history():     # everything, streamed
        print(row["_step"], row["loss"])

Nothing is cached implicitly: a run's properties are those of when it was read (`run.load()` reads
it again), and history is read on each call.
"""

# pandas is loaded only if a table is requested.
# ruff: noqa: PLC0415

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, overload
from urllib.parse import quote

from penstock.command_codes import CommandCode
from penstock.errors import Rejected
from penstock.reading.filters import translated_filter, translated_order
from penstock.reading.reader import Reader, section_of
from penstock.settings import Settings
from penstock.wire.run_fields import PLAIN_FIELDS, FieldShape

__all__ = ["Api", "ApiRun", "Project", "Runs"]

_ALWAYS = ("_step", "_timestamp", "_runtime")
_LANE = ("_rank", "_lane")


class Api:
    """Reads from the server that `init` would log to.

    `overrides` may set `base_url`, `entity` and `project`. Raises PenstockError if the server cannot
    be reached or refuses.
    """

    def __init__(
        self,
        overrides: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        api_key: str | None = None,
    ) -> None:
        self.settings = Settings.resolve(overrides, {"api_key": api_key})
        self._key = self.settings.key
        self._reader = Reader(self.settings.base_url, self.settings.ca_file, self.settings.proxies)
        self._entity = self.settings.entity

    @property
    def default_entity(self) -> str:
        """The entity for paths without one: the one that is set, or the API key's."""
        if self._entity is None:
            self._entity = str(self.get("viewer")["entity"])
        return self._entity

    def run(self, path: str) -> ApiRun:
        """The run at `entity/project/id`, `project/id`, or `id` in the project that is set."""
        entity, project, run = self._place(path, 3)
        return ApiRun(self, self.get("runs", entity, project, run))

    def runs(
        self,
        path: str | None = None,
        filters: Mapping[str, Any] | None = None,
        order: str = "-created_at",
        per_page: int = 50,
        **_: Any,
    ) -> Runs:
        """The runs of `entity/project` or `project` that pass the filters, W&B's: `{"state":
        "finished", "config.lr": {"$lt": 0.1}, "summary_metrics.loss": {"$exists": True}}`. They are
        read `per_page` (at most 1,000) at a time, as they are looked at."""
        entity, project = self._place(path or self.settings.project, 2)
        question: dict[str, Any] = {"limit": min(max(per_page, 1), 1_000)}
        if filters:
            question["filter"] = translated_filter(dict(filters))
        if order:
            question["order"] = translated_order(order)
        return Runs(self, entity, project, question)

    def projects(self, entity: str | None = None, **_: Any) -> list[Project]:
        """The projects that the key can read, or those of one entity."""
        found = self.get("projects")["projects"]
        return [Project(each) for each in found if entity in (None, each["entity"])]

    def get(self, *segments: str) -> dict[str, Any]:
        """The JSON answer at `/v1/a/b/c`."""
        return self._reader.get(_path(*segments), self._key)

    def post(self, *segments: str, question: dict[str, Any]) -> dict[str, Any]:
        """The JSON answer of `/v1/a/b/c` to a request body."""
        return self._reader.post(_path(*segments), self._key, question)

    def rows(self, *segments: str, **query: Any) -> Iterator[dict[str, Any]]:
        """The rows of the history at `/v1/a/b/c?…`, streamed."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._reader.rows(_path(*segments), self._key, given)

    def _place(self, path: str, parts: int) -> list[str]:
        """Entity, project and so on from a path; missing leading ones come from the settings."""
        given = [part for part in path.strip("/").split("/") if part]
        if len(given) == parts + 1 and given[-2] == "runs":  # as in a page's URL
            del given[-2]
        if not given or len(given) > parts:
            raise Rejected(
                f"{path!r} does not name a {'run' if parts == 3 else 'project'}",
                code=CommandCode.BAD_PATH,
                hint="Write 'entity/project/run', 'project/run', 'entity/project' or 'project'.",
            )
        if len(given) == parts - 2:
            given.insert(0, self.settings.project)
        if len(given) == parts - 1:
            given.insert(0, self.default_entity)
        return given


class Project:
    """A project: `.entity`, `.name`, `.run_count`, `.created_at`."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.entity = str(fields["entity"])
        self.name = str(fields["project"])
        self.run_count = int(fields["runs"])
        self.created_at = _iso(fields["created_at"])

    def __repr__(self) -> str:
        return f"<Project {self.entity}/{self.name}>"


class ApiRun:
    """A run, as of when it was read."""

    def __init__(self, api: Api, fields: Mapping[str, Any]) -> None:
        self._api = api
        self._fields = fields

    def load(self, force: bool = True) -> ApiRun:
        """Read the run again."""
        self._fields = self._api.get("runs", *self.path)
        return self

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
        return section_of(self._fields, "config")

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
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        is_list = PLAIN_FIELDS[name].shape is FieldShape.TEXTS
        return list(self._fields[name]) if is_list else str(self._fields[name] or "")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *PLAIN_FIELDS]

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

    def __repr__(self) -> str:
        return f"<Runs {self.entity}/{self.project}>"


def _path(*segments: str) -> str:
    return "/v1/" + "/".join(quote(segment, safe="") for segment in segments)


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
