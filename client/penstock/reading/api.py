"""`penstock.Api()`: reads runs and their history, shaped like W&B's API.

    api = penstock.Api()
    run = api.run("mnist/a1b2c3d4")
    run.history(samples=500)           # evenly sampled, a DataFrame if pandas is installed
    for row in run.scan_history():     # everything, streamed
        print(row["_step"], row["loss"])

Nothing is cached implicitly: a run's properties are those of when it was read (`run.load()` reads
it again), and history is read on each call.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

from penstock import __version__
from penstock.command_codes import CommandCode
from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock.reading.api_runs import ApiRun, Project, Runs
from penstock.reading.api_sweeps import ApiSweep
from penstock.reading.filters import translated_filter, translated_order
from penstock.reading.reader import Reader
from penstock.settings import Settings
from penstock.surface.absent import absent, usable
from penstock.surface.reading_names import API

__all__ = ["Api", "ApiRun", "ApiSweep", "Project", "Runs"]


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

    @property
    def viewer(self) -> SimpleNamespace:
        """Who the API key belongs to: an object with `entity`, also as `username`."""
        entity = str(self.get("viewer")["entity"])
        return SimpleNamespace(entity=entity, username=entity)

    @property
    def user_agent(self) -> str:
        return f"penstock {__version__}"

    def flush(self) -> None:
        """Does nothing: nothing is cached."""

    def from_path(self, path: str) -> ApiRun | Project:
        """The run at `entity/project/id`, or the project at `entity/project`."""
        parts = [part for part in path.strip("/").split("/") if part]
        return self.project(parts[1], parts[0]) if len(parts) == 2 else self.run(path)

    def run(self, path: str = "") -> ApiRun:
        """The run at `entity/project/id`, `project/id`, or `id` in the project that is set."""
        entity, project, run = self._place(path, 3)
        return ApiRun(self, self.get("runs", entity, project, run))

    def sweep(self, path: str = "") -> ApiSweep:
        """The sweep at `entity/project/id`, `project/id`, or `id` in the project that is set."""
        place = path.replace("/sweeps/", "/")  # as in a page's URL
        return ApiSweep(self, self.get("sweeps", *self._place(place, 3)))

    def sweeps(self, entity: str, project: str) -> list[ApiSweep]:
        """The sweeps of a project, newest first."""
        return [ApiSweep(self, each) for each in self.get("sweeps", entity, project)["sweeps"]]

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

    def projects(self, entity: str | None = None, per_page: int = 200) -> list[Project]:
        """The projects that the key can read, or those of one entity. They are read at once."""
        found = self.get("projects")["projects"]
        return [Project(self, each) for each in found if entity in (None, each["entity"])]

    def project(self, name: str, entity: str | None = None) -> Project:
        """One project. Raises Rejected if there is none."""
        entity = entity or self.default_entity
        for project in self.projects(entity):
            if project.name == name:
                return project
        raise Rejected(f"there is no project {entity}/{name}", code=ErrorCode.NOT_FOUND)

    def edit(self, method: str, path: Sequence[str], change: Any = None) -> dict[str, Any]:
        """Change (PATCH) or DELETE a run. Raises Rejected without a key that may write."""
        if not self._key:
            raise Rejected("this needs an API key", code=ErrorCode.NO_KEY, hint="penstock login")
        body = None if change is None else json.dumps(change).encode()
        try:
            return self._reader.call(
                method, _path("runs", *path), self._key, body, "application/json"
            )
        finally:
            self._reader.close()

    def __getattr__(self, name: str) -> Any:
        return absent({} if name.startswith("_") else API, name, "Api")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *usable(API)]

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


def _path(*segments: str) -> str:
    return "/v1/" + "/".join(quote(segment, safe="") for segment in segments)
