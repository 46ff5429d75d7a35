"""The client's side of sweeps: creating and changing them, and asking for trials, which the server
chooses."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from penstock.command_codes import CommandCode
from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock.link import Link
from penstock.notices import NOTICES
from penstock.settings import Settings

__all__ = ["SweepLink", "sweep"]


def sweep(
    sweep: Mapping[str, Any] | str | os.PathLike[str],
    entity: str | None = None,
    project: str | None = None,
    name: str | None = None,
    **_: Any,
) -> str:
    """Create a sweep and return its id, for `penstock.agent`.

    `sweep` is the configuration: a mapping, the path of a YAML file, or YAML text; docs/sweeps.md
    describes it. `project` defaults to the configuration's own, then to PENSTOCK_PROJECT. Raises
    Rejected if the configuration is invalid.
    """
    source = _source(sweep)
    link = SweepLink(Settings.resolve(None, {"entity": entity, "project": project}))
    try:
        fields = {"config": source, "entity": entity, "project": project, "name": name}
        made = link.create({key: value for key, value in fields.items() if value is not None})
    finally:
        link.close()
    for warning in made["warnings"]:
        NOTICES.say(f"warning: {warning}")
    place = f"{made['entity']}/{made['project']}/{made['sweep']}"
    NOTICES.say(f"sweep {place}; start agents with: penstock agent {place}")
    return str(made["sweep"])


class SweepLink:
    """One server's sweeps. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._key = settings.key
        self._link = Link(settings.base_url, settings.ca_file, settings.proxies)

    def create(self, fields: dict[str, Any]) -> dict[str, Any]:
        given = self._settings.given
        if "project" not in fields and "project" in given:
            fields = {**fields, "default_project": given["project"]}
        if "entity" not in fields and "entity" in given:
            fields = {**fields, "entity": given["entity"]}
        return self._post("/v1/sweeps", fields)

    def place(self, sweep: str) -> list[str]:
        """Entity, project and id of `entity/project/id`, `project/id` or `id`."""
        parts = [part for part in sweep.strip("/").split("/") if part]
        if len(parts) == 4 and parts[2] == "sweeps":  # as in a page's URL
            del parts[2]
        if not 1 <= len(parts) <= 3:
            raise Rejected(
                f"{sweep!r} does not name a sweep",
                code=CommandCode.BAD_PATH,
                hint="Write 'entity/project/sweep', 'project/sweep' or 'sweep'.",
            )
        if len(parts) < 2:
            parts.insert(0, self._settings.project)
        if len(parts) < 3:
            entity = self._settings.entity or self._call("GET", "/v1/viewer")["entity"]
            parts.insert(0, str(entity))
        return parts

    def change(self, place: list[str], state: str) -> dict[str, Any]:
        return self._post(f"{_path(place)}/state", {"state": state})

    def read(self, place: list[str]) -> dict[str, Any]:
        return self._call("GET", _path(place))

    def add_agent(self, place: list[str]) -> dict[str, Any]:
        """{agent, sweep}"""
        return self._post(f"{_path(place)}/agents", {"host": os.uname().nodename[:256]})

    def heartbeat(
        self,
        place: list[str],
        agent: str,
        *,
        alive: Collection[str] = (),
        ended: Collection[str] = (),
        wants: bool = True,
    ) -> dict[str, Any]:
        """{state, trial, stop, exit, interval_s}"""
        body = {"alive": list(alive), "ended": list(ended), "wants": wants}
        return self._post(f"{_path(place)}/agents/{quote(agent, safe='')}/heartbeat", body)

    def close(self) -> None:
        self._link.close_all()

    def _post(self, path: str, payload: dict[str, Any]) -> dict[str, Any]:
        try:
            body = json.dumps(payload, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise Rejected(f"cannot be encoded as JSON: {error}", code=ErrorCode.BAD_JSON) from None
        return self._call("POST", path, body)

    def _call(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        return self._link.call(method, path, self._key, body, "application/json")


def _path(place: list[str]) -> str:
    return "/v1/sweeps/" + "/".join(quote(name, safe="") for name in place)


def _source(given: Mapping[str, Any] | str | os.PathLike[str]) -> str | dict[str, Any]:
    if isinstance(given, Mapping):
        return dict(given)
    if isinstance(given, str) and "\n" in given:
        return given
    path = Path(given)
    try:
        return path.read_text()
    except OSError as error:
        raise Rejected(f"cannot read {path}: {error.strerror}", code=CommandCode.BAD_PATH) from None
