"""What a run is called and where it is found: its name, notes, tags, path and addresses."""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING, Any

from penstock.values.arguments import text_of, texts_of

if TYPE_CHECKING:
    from penstock.runs.recording import Recorder
    from penstock.settings import Settings
    from penstock.values.slowpath import SlowPath

__all__ = ["Described"]

_UNKNOWN_ENTITY = "-"
"""In a URL: the viewer's own entity."""


class Described:
    """The part of a run that people read. What is assigned is sent to the server."""

    id: str
    project: str
    entity: str | None
    settings: Settings
    _name: str
    _notes: str | None
    _tags: tuple[str, ...]
    _slow_path: SlowPath
    _recorder: Recorder

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = text_of(self._slow_path, "run.name", name) or self._name
        self._recorder.say("run", name=self._name)

    @property
    def notes(self) -> str | None:
        return self._notes

    @notes.setter
    def notes(self, notes: str) -> None:
        self._notes = text_of(self._slow_path, "run.notes", notes)
        self._recorder.say("run", notes=self._notes or "")

    @property
    def tags(self) -> tuple[str, ...]:
        return self._tags

    @tags.setter
    def tags(self, tags: Any) -> None:
        found = texts_of(self._slow_path, "run.tags", tags) or ()
        self._tags = (found,) if isinstance(found, str) else found
        self._recorder.say("run", tags=[*self._tags])

    @property
    def url(self) -> str:
        """The page of this run."""
        return f"{self.project_url}&run={urllib.parse.quote(self.id)}"

    @property
    def project_url(self) -> str:
        """The page of this run's project."""
        place = f"{self.entity or _UNKNOWN_ENTITY}/{self.project}"
        return f"{self.settings.base_url}/?project={urllib.parse.quote(place, safe='/')}"
