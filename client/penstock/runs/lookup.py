"""Looks up a run for `init(resume=…)`: whether it exists and where it stopped, in bounded time
whatever the server or the network does."""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import quote

from penstock.errors import PenstockError, Rejected
from penstock.notices import NOTICES
from penstock.settings import Settings

__all__ = ["look_up", "resumed_step"]

LOOK_UP_S = 4.0
"""For the whole look-up. The training script waits for it, so it is short."""


def resumed_step(settings: Settings) -> int:
    """The first step of a resumed run; 0 for a new one. Raises PenstockError if the run contradicts
    `resume`, ValueError for `resume="must"` without an id."""
    wanted = settings.resume
    if wanted in (None, "never") and (wanted is None or settings.run_id is None):
        return 0
    if settings.run_id is None or settings.mode in ("offline", "disabled"):
        if wanted == "must":
            raise ValueError('resume="must" needs a run id and a server')
        return 0
    found = look_up(settings)
    if found is None and wanted == "must":
        raise PenstockError(f"there is no run {settings.run_id} in {settings.project} to resume")
    if found and wanted == "never":
        raise PenstockError(f"run {settings.run_id} already exists in {settings.project}")
    last_step = (found or {}).get("last_step")
    return last_step + 1 if isinstance(last_step, int) else 0


def look_up(settings: Settings) -> dict[str, Any] | None:
    """The run on the server; None if there is none, {} if that is unknown.

    Raises PenstockError if that is unknown and `resume` is "must".
    """
    answers: list[dict[str, Any] | Exception | None] = []

    def ask() -> None:
        try:
            answers.append(_ask(settings))
        except Exception as error:  # re-raised in the other thread
            answers.append(error)

    # In its own thread: socket timeouts do not limit name resolution or a trickle of bytes.
    thread = threading.Thread(target=ask, name="penstock-look-up", daemon=True)
    try:
        thread.start()
        thread.join(LOOK_UP_S)
    except RuntimeError as error:  # no thread could be started
        answers.append(error)
    answer = answers[0] if answers else PenstockError(f"no answer in {LOOK_UP_S:.0f} s")
    if not isinstance(answer, Exception):
        return answer
    NOTICES.warn("resume", f"cannot look up the run to resume: {answer}; {_so(settings)}")
    if settings.resume == "must":
        raise PenstockError(f"cannot look up the run to resume: {answer}") from answer
    return {}


def _so(settings: Settings) -> str:
    if settings.resume == "must":
        return "start the script again once the server is reachable"
    return "continuing as a new run, with steps from 0"


def _ask(settings: Settings) -> dict[str, Any] | None:
    from penstock.link import Link  # noqa: PLC0415  (only here)

    link = Link(settings.base_url, settings.ca_file, settings.proxies, timeout_s=LOOK_UP_S)
    key = settings.key
    try:
        entity = settings.entity or str(link.call("GET", "/v1/viewer", key)["entity"])
        names = (entity, settings.project, settings.run_id or "")
        path = "/v1/runs/" + "/".join(quote(name, safe="") for name in names)
        return link.call("GET", path, key)
    except Rejected as error:
        if error.status == 404:
            return None
        raise
    finally:
        link.close()
