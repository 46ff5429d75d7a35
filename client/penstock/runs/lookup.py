"""Looks up a run for `init(resume=…)`: whether it exists, where it stopped and what is known of it, in
bounded time whatever the server or the network does."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from penstock.bounded import within
from penstock.errors import CommError, Rejected, UsageError
from penstock.names import shared_id
from penstock.notices import NOTICES
from penstock.runs.earlier import last_step_here, start_beside
from penstock.runs.start import BESIDE, FRESH, RESUME, Start
from penstock.runs.unfinished import find_unfinished
from penstock.settings import Settings

if TYPE_CHECKING:
    from penstock.runs.launcher import Launched

__all__ = ["TakenUp", "call", "look_up", "replaced_points", "take_up"]

_LEDGER_S = 2.0
_OF_LAUNCHERS = frozenset({"RANK", "SLURM_JOB_ID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"})
"""Without any of these variables, nothing launched this process."""
LOOK_UP_S = 4.0
"""For the whole look-up. The training script waits for it, so it is short."""


@dataclass(frozen=True, slots=True)
class TakenUp:
    """How a run is taken up; `known`: what the server says of it."""

    start: Start
    step: int = 0
    known: dict[str, Any] = field(default_factory=dict)
    is_resumed: bool = False


def take_up(settings: Settings) -> TakenUp:
    """How a run is taken up; its id, if it has one already, is in `settings` then.

    Raises PenstockError if the run contradicts `resume`, ValueError for `resume="must"` without an id.
    """
    if settings.resume_from is not None and settings.mode != "disabled":
        return _rewound(settings, settings.resume_from)
    wanted = settings.resume
    settings.run_id = settings.run_id or shared_id(settings)
    if wanted == "auto" and settings.run_id is None and settings.mode != "disabled":
        settings.run_id = find_unfinished(settings)
    if settings.run_id is None and (launch := _launched(settings)) is not None:
        settings.run_id = launch.run
        if launch.is_restart and wanted != "must":
            return _restarted(settings)
        wanted = wanted if wanted == "must" else None
    elif settings.run_id is None and settings.mode == "shared":
        NOTICES.warn("shared", 'mode="shared" needs one id for all processes: set PENSTOCK_RUN_ID')
    if wanted is None or (wanted == "never" and settings.run_id is None):
        return TakenUp(start_beside(settings) or FRESH)
    if settings.run_id is None or settings.mode == "disabled":
        if wanted == "must":
            raise ValueError('resume="must" needs a run id and a server')
        return TakenUp(FRESH)
    here = last_step_here(settings)
    if settings.mode == "offline":
        if wanted == "must" and here is None:
            raise ValueError('resume="must" needs a server, or data of the run on this machine')
        return _resumed(settings, {} if here is not None else None, here)
    found = look_up(settings, here)
    if found is None and here is None:
        if wanted == "must":
            raise UsageError(f"there is no run {settings.run_id} in {settings.project} to resume")
        return TakenUp(start_beside(settings) or FRESH)
    if wanted == "never" and found != {} and not _is_of_other_ranks(settings, found):
        raise UsageError(f"run {settings.run_id} already exists in {settings.project}")
    return _resumed(settings, found, here)


def _rewound(settings: Settings, moment: str) -> TakenUp:
    """Resume a run after a step that is not its last: what its attempts logged later no longer counts.

    Raises ValueError if another setting contradicts this, PenstockError if there is no such run.
    """
    run, _, step = moment.partition("?_step=")
    if settings.resume is not None or settings.run_id not in (None, run):
        raise ValueError("resume_from cannot be combined with resume, or with another id")
    settings.run_id, settings.resume = (
        run,
        "must",
    )  # nothing is known of a run that cannot be looked up
    here = last_step_here(settings)
    found = {} if settings.mode == "offline" and here is not None else look_up(settings, here)
    if found is None and here is None:
        raise UsageError(f"there is no run {run} in {settings.project} to resume from")
    known = {name: value for name, value in (found or {}).items() if name != "summary"}
    first = int(step) + 1
    return TakenUp(Start(RESUME, first), first, known, is_resumed=True)


def _launched(settings: Settings) -> Launched | None:
    """The run that the processes of this one's launch share, if it may be joined."""
    is_own = settings.mode == "disabled" or settings.sweep_id is not None
    if is_own or settings.resume == "never" or not settings.join:
        return None
    if _OF_LAUNCHERS.isdisjoint(os.environ):
        return None
    from penstock.runs.launcher import launched  # noqa: PLC0415  (only where there is a launcher)

    return launched(settings)


def _restarted(settings: Settings) -> TakenUp:
    """A launcher has started this again. Steps go on after the last one; a script that goes back to its
    checkpoint, and says each step, replaces the rows from there."""
    here = last_step_here(settings)
    found = look_up(settings, here, is_of_rank=True) if settings.mode != "offline" else None
    taken_up = _resumed(settings, found, here)
    if taken_up.start.kind == RESUME:
        return replace(taken_up, start=FRESH)
    return taken_up


def _is_of_other_ranks(settings: Settings, found: dict[str, Any] | None) -> bool:
    """Whether the run was started by other processes of this job, a moment ago."""
    return settings.mode == "shared" and found is not None and found.get("last_step") is None


def _resumed(settings: Settings, found: dict[str, Any] | None, here: int | None) -> TakenUp:
    """`found`: as from `look_up`; `here`: the last step that this machine has of the run."""
    if found is None and here is None:
        return TakenUp(FRESH)
    there = (found or {}).get("last_step")
    steps = [step for step in (here, there) if isinstance(step, int)]
    first = max(steps, default=-1) + 1
    beside = start_beside(settings)
    if beside is None and not steps and not found:  # nothing is known: what is stored stays
        beside = Start(BESIDE)
    return TakenUp(beside or Start(RESUME, first), first, found or {}, is_resumed=True)


def look_up(
    settings: Settings, last_step_here: int | None = None, *, is_of_rank: bool = False
) -> dict[str, Any] | None:
    """The run on the server; None if there is none, {} if that is unknown. `is_of_rank`: its last step is
    that of this process's rank.

    Raises PenstockError if that is unknown and `resume` is "must".
    """
    answers: list[dict[str, Any] | Exception | None] = []

    def ask() -> None:
        try:
            answers.append(_ask(settings, is_of_rank=is_of_rank))
        except Exception as error:  # re-raised in the other thread
            answers.append(error)

    # In its own thread: socket timeouts do not limit name resolution or a trickle of bytes.
    thread = threading.Thread(target=ask, name="penstock-look-up", daemon=True)
    try:
        thread.start()
        thread.join(LOOK_UP_S)
    except RuntimeError as error:  # no thread could be started
        answers.append(error)
    answer = answers[0] if answers else CommError(f"no answer in {LOOK_UP_S:.0f} s")
    if not isinstance(answer, Exception):
        return answer
    NOTICES.warn(
        "resume", f"cannot look up the run to resume: {answer}; {_so(settings, last_step_here)}"
    )
    if settings.resume == "must":
        raise CommError(f"cannot look up the run to resume: {answer}") from answer
    return {}


def _so(settings: Settings, last_step_here: int | None) -> str:
    if settings.resume == "must":
        return "start the script again once the server is reachable"
    if last_step_here is not None:
        return f"continuing after step {last_step_here}, the last one on this machine"
    return "continuing with steps from 0, beside what the run has logged before"


def replaced_points(settings: Settings, run: str, writer: str) -> int | None:
    """How many points of a stored writer were replaced by later ones of the same key and step; None if the
    server does not say."""

    def ask() -> int | None:
        ledger = call(settings, run, "/ledger")
        for each in ledger["writers"]:
            if each["writer"] == writer:
                return int(each["points_sent"]) - int(each["points_stored"])
        return None

    with suppress(Exception):  # nothing depends on it
        return within("the ledger of the run", ask, seconds=_LEDGER_S)
    return None


def _ask(settings: Settings, *, is_of_rank: bool) -> dict[str, Any] | None:
    # A process that starts later than others of its job finds their run, and must not go on after their steps.
    of_rank = (
        f"?rank={settings.rank}" if is_of_rank or settings.mode == "shared" or settings.rank else ""
    )
    try:
        return call(settings, settings.run_id or "", of_rank)
    except Rejected as error:
        if error.status == 404:
            return None
        raise


def call(settings: Settings, run: str, what: str = "", *, method: str = "GET") -> dict[str, Any]:
    """The server's answer about a run."""
    from penstock.link import Link  # noqa: PLC0415  (only here)

    link = Link(settings.base_url, settings.ca_file, settings.proxies, timeout_s=LOOK_UP_S)
    key = settings.key
    try:
        entity = settings.entity or str(link.call("GET", "/v1/viewer", key)["entity"])
        names = (entity, settings.project, run)
        path = "/v1/runs/" + "/".join(quote(name, safe="") for name in names)
        return link.call(method, f"{path}{what}", key)
    finally:
        link.close()
