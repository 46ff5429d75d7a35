"""A run's name, notes, tags, path and addresses."""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING, Any

from penstock.kernel import page_frame, show_page
from penstock.values.arguments import text_of, texts_of

if TYPE_CHECKING:
    from collections.abc import KeysView, Mapping

    from penstock.runs.recording import Recorder
    from penstock.settings import Settings
    from penstock.values.fields import Config
    from penstock.values.slowpath import SlowPath

__all__ = ["ConfigSnapshot", "Described"]

_UNKNOWN_ENTITY = "-"
"""In a URL: the viewer's own entity."""


class ConfigSnapshot:
    """A config's entries as attributes, read-only."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("config_static is read-only")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"there is no {name!r} in the config")

    def keys(self) -> KeysView[str]:
        return self.__dict__.keys()

    def __getitem__(self, key: str) -> Any:
        return self.__dict__[key]

    def __repr__(self) -> str:
        return repr(self.__dict__)


class Described:
    """The part of a run that people read. Assigned values are sent to the server."""

    id: str
    project: str
    entity: str | None
    settings: Settings
    config: Config
    _name: str
    _notes: str | None
    _tags: tuple[str, ...]
    _slow_path: SlowPath
    _recorder: Recorder

    @property
    def path(self) -> str:
        """entity/project/id; without the entity while that is unknown."""
        return "/".join(filter(None, (self.entity, self.project, self.id)))

    @property
    def offline(self) -> bool:
        return self.settings.mode == "offline"

    @property
    def sweep_id(self) -> str | None:
        """The id of the sweep that this run is a trial of."""
        return self.settings.sweep_id

    @property
    def sweep_url(self) -> str | None:
        """The page of its sweep."""
        if self.sweep_id is None:
            return None
        names = (self.entity or _UNKNOWN_ENTITY, self.project, "sweeps", self.sweep_id)
        path = "/".join(urllib.parse.quote(name, safe="") for name in names)
        return f"{self.settings.base_url}/{path}"

    @property
    def config_static(self) -> ConfigSnapshot:
        """The config as it is now, read-only."""
        return ConfigSnapshot(self.config)

    def to_html(self, height: int = 420, hidden: bool = False) -> str:
        """The run's page as HTML for a notebook."""
        return page_frame(self.url, height, is_hidden=hidden)

    def display(self, height: int = 420, hidden: bool = False) -> bool:
        """Show the run's page in a notebook; returns whether this is one."""
        return show_page(self.to_html(height, hidden))

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

    def __getattr__(self, name: str) -> Any:
        """Names of W&B's that are not here; see `penstock.surface.absent`."""
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        from penstock.surface.absent import absent  # noqa: PLC0415  (rarely needed)
        from penstock.surface.logging_names import RUN  # noqa: PLC0415

        return absent(RUN, name, "run")

    def __dir__(self) -> list[str]:
        from penstock.surface.absent import usable  # noqa: PLC0415  (rarely needed)
        from penstock.surface.logging_names import RUN  # noqa: PLC0415

        return [*super().__dir__(), *usable(RUN)]
