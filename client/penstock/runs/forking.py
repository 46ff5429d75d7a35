"""`init(fork_from=…)`: a new run that goes on from a step of another one, with its history up to there.

The server copies the history, through the same door as for the official client.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from penstock.errors import NotSupported, PenstockError, UsageError
from penstock.ids import new_run_id
from penstock.link import Link
from penstock.runs.lookup import TakenUp, call, look_up
from penstock.runs.start import RESUME, Start
from penstock.settings import Settings

__all__ = ["fork"]

_COPY_S = 310.0
"""The server gives up after 300 s."""
_MUTATION = """
mutation UpsertBucket($input: UpsertBucketInput!) { upsertBucket(input: $input) { inserted } }
"""


def fork(settings: Settings, moment: str) -> TakenUp:
    """Make the run on the server, and wait until it has the history.

    Raises ValueError if another setting contradicts this, PenstockError if the server does not do it.
    """
    parent, _, step = moment.partition("?_step=")
    if settings.resume is not None or settings.resume_from is not None:
        raise ValueError("fork_from cannot be combined with resume or resume_from")
    if settings.mode == "offline":
        raise NotSupported("fork_from needs a server, which copies the history")
    settings.run_id = settings.run_id or new_run_id()
    if settings.run_id == parent:
        raise ValueError("a run cannot be forked from itself: see resume_from")
    is_new = look_up(settings) is None
    try:
        _ask(settings, parent, int(step))
    except PenstockError:
        if is_new:
            with suppress(PenstockError):  # otherwise it would be there without the history
                call(settings, settings.run_id, method="DELETE")
        raise
    known = look_up(settings) or {}
    first = int(step) + 1
    return TakenUp(Start(RESUME, first), first, known)


def _ask(settings: Settings, parent: str, step: int) -> None:
    place = {"run_id": parent, "step": step}
    given = {
        "name": settings.run_id,
        "modelName": settings.project,
        "entityName": settings.known_entity,
        "displayName": settings.name,
        "config": json.dumps({"_wandb": {"value": {"branch_point": place}}}),
        "host": settings.label or settings.host_name or "",
    }
    stated = {name: value for name, value in given.items() if value is not None}
    body = json.dumps({"query": _MUTATION, "variables": {"input": stated}}).encode()
    link = Link(settings.base_url, settings.ca_file, settings.proxies, timeout_s=_COPY_S)
    try:
        answer: dict[str, Any] = link.call(
            "POST", "/graphql", settings.key, body, "application/json"
        )
    finally:
        link.close()
    if errors := answer.get("errors"):
        message = errors[0].get("message") if isinstance(errors[0], dict) else errors[0]
        raise UsageError(f"cannot fork from {parent}: {message}")
