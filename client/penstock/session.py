"""The runs of this process: `init`, the current run, and what happens at exit, crash and fork."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn

from penstock.arguments import config_of, text_of, texts_of
from penstock.assignment import Assignment
from penstock.errors import PenstockError, Rejected
from penstock.fields import Selection
from penstock.notices import NOTICES
from penstock.runs import Run
from penstock.settings import Settings
from penstock.signals import on_terminate
from penstock.slowpath import SlowPath

__all__ = ["current", "finish", "init", "on_change"]

_runs: list[Run] = []
_current: Run | None = None
_failed = False
_exit_code = 0
_hooked = False
_listeners: list[Callable[[Run | None], None]] = []


def init(
    project: str | None = None,
    entity: str | None = None,
    name: str | None = None,
    config: Any = None,
    id: str | None = None,
    group: str | None = None,
    job_type: str | None = None,
    tags: Any = None,
    notes: str | None = None,
    mode: str | None = None,
    dir: Any = None,
    resume: str | bool | None = None,
    reinit: str | bool | None = None,
    settings: Settings | dict[str, Any] | None = None,
    config_exclude_keys: Any = None,
    config_include_keys: Any = None,
    **others: Any,
) -> Run:
    """Start a run and return it; the module's `log`, `config`, `summary` and `finish` act on it.

    Does not wait for the server (except to look up a run that `resume` names). Data goes to disk
    first and a process of its own sends it, so this works without a server and without a key.

    mode: "online", "offline" (keep data until `penstock sync`), "disabled" (do nothing), or "shared"
    (several processes log to one run; pass the same `id` in each). reinit: what to do if a run is
    active: "return_previous" (default), "finish_previous" (also True), "create_new". dir: data is
    kept in its subfolder `penstock`. config: a mapping, an object with fields, or the path of a YAML
    file. config_exclude_keys, config_include_keys: names, dotted ones for nested entries, that never or
    alone become config, now or later. Other arguments of W&B's `init` are noted once and ignored.

    Raises ValueError for impossible arguments and PenstockError if there is no folder to keep data
    in, or the run contradicts `resume`.
    """
    config = config_of(config)
    selection = Selection(config_exclude_keys, config_include_keys)
    slow_path = SlowPath()
    for argument in others:
        NOTICES.warn(f"argument {argument}", f"init(): {argument!r} is not used here")
    resolved = Settings.resolve(
        settings,
        {
            "project": project,
            "entity": entity,
            "name": text_of(slow_path, "run.name", name),
            "run_id": id,
            "group": text_of(slow_path, "run.group", group),
            "job_type": text_of(slow_path, "run.job_type", job_type),
            "tags": texts_of(slow_path, "run.tags", tags),
            "notes": text_of(slow_path, "run.notes", notes),
            "mode": mode,
            "dir": None if dir is None else os.path.join(dir, "penstock"),  # noqa: PTH118
            "resume": resume,
            "reinit": reinit,
        },
    )
    assignment = Assignment.of(os.environ)
    if assignment is not None:  # an agent started this, and what it says of the run counts
        resolved.update(
            {
                "run_id": assignment.run,
                "project": assignment.project or None,
                "entity": assignment.entity or None,
                "sweep_id": assignment.sweep,
            }
        )
    NOTICES.quiet = resolved.silent
    _check_names(resolved)
    active = _current
    if active is not None and not active.finished:
        if resolved.reinit in (True, "finish_previous"):
            active.finish()
        elif resolved.reinit != "create_new":
            NOTICES.warn("reinit", f"init(): {active!r} is still active and is returned")
            return active
    slow_path.strict = resolved.strict
    run = Run(
        resolved, config, step=_resumed_step(resolved), selection=selection, slow_path=slow_path
    )
    if assignment is not None:
        run.config.update(assignment.parameters)
    _adopt(run, make_current=active is None or active.finished)
    return run


def current() -> Run | None:
    """The run that the module's functions act on."""
    return _current


def finish(exit_code: int | None = None, quiet: bool | None = None) -> None:
    """Finish the current run."""
    if _current is not None:
        _current.finish(exit_code, quiet)
        _set_current(None)


def on_change(listener: Callable[[Run | None], None]) -> None:
    """Call `listener` whenever another run becomes the current one."""
    _listeners.append(listener)


def _adopt(run: Run, *, make_current: bool) -> None:
    global _hooked
    _runs[:] = [known for known in _runs if not known.finished]
    _runs.append(run)
    if make_current:
        _set_current(run)
    if not _hooked and not run.disabled:
        _hooked = True
        atexit.register(_at_exit)
        os.register_at_fork(after_in_child=_after_fork)
        _hook_exceptions()
        _hook_exit()
        on_terminate(_note_preempting)


def _set_current(run: Run | None) -> None:
    global _current
    _current = run
    for listener in _listeners:
        listener(run)


def _at_exit() -> None:
    for run in list(_runs):
        run.finish(exit_code=1 if _failed else _exit_code)


def _after_fork() -> None:
    NOTICES.forget_after_fork()
    for run in _runs:
        run.forget_after_fork()


def _hook_exceptions() -> None:
    previous = sys.excepthook

    def note_failure(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        global _failed
        _failed = True
        previous(kind, error, trace)

    sys.excepthook = note_failure


def _hook_exit() -> None:
    """`sys.exit(3)` ends in no exception that could be seen at exit: its argument is noted."""
    leave = sys.exit

    def note_code(status: Any = None, /) -> NoReturn:
        global _exit_code
        if threading.current_thread() is threading.main_thread():
            _exit_code = status if isinstance(status, int) else int(status is not None)
        leave(status)

    sys.exit = note_code


def _note_preempting(go_on: Callable[[], None]) -> None:
    """On SIGTERM: the runs of this process are about to be stopped from outside."""
    interrupted = [run for run in list(_runs) if not run.interject(run.mark_preempting)]
    if interrupted:  # the signal came amid a `log`, which is let finish
        interrupted[0].interject(go_on)
    else:
        go_on()


def _check_names(settings: Settings) -> None:
    # Imported here: the wire's checks load more than a script that only imports penstock needs.
    from penstock.wire import check_name  # noqa: PLC0415

    for what, value in (
        ("project", settings.project),
        ("entity", settings.entity),
        ("id", settings.run_id),
    ):
        if value is not None:
            try:
                check_name(what, value)
            except Rejected as error:
                raise ValueError(f"{error}. {error.hint}") from None


def _resumed_step(settings: Settings) -> int:
    """The first step of a run that goes on; 0 for a new one."""
    wanted = settings.resume
    if wanted in (None, "never") and (wanted is None or settings.run_id is None):
        return 0
    if settings.run_id is None or settings.mode in ("offline", "disabled"):
        if wanted == "must":
            raise ValueError('resume="must" needs the id of the run, and a server')
        return 0
    found = _look_up(settings)
    if found is None and wanted == "must":
        raise PenstockError(f"there is no run {settings.run_id} in {settings.project} to resume")
    if found is not None and wanted == "never":
        raise PenstockError(f"run {settings.run_id} exists already in {settings.project}")
    last_step = (found or {}).get("last_step")
    return last_step + 1 if isinstance(last_step, int) else 0


def _look_up(settings: Settings) -> dict[str, Any] | None:
    from urllib.parse import quote  # noqa: PLC0415  (only here)

    from penstock.credentials import stored_key  # noqa: PLC0415
    from penstock.link import Link  # noqa: PLC0415

    key = settings.api_key or stored_key(settings.base_url) or ""
    link = Link(settings.base_url, settings.ca_file, settings.proxies)
    try:
        entity = settings.entity or str(link.call("GET", "/v1/viewer", key)["entity"])
        names = (entity, settings.project, settings.run_id or "")
        path = "/v1/runs/" + "/".join(quote(name, safe="") for name in names)
        return link.call("GET", path, key)
    except Rejected as error:
        if error.status == 404:
            return None
        NOTICES.warn("resume", f"the run to resume cannot be looked up: {error}")
    except PenstockError as error:
        NOTICES.warn("resume", f"the run to resume cannot be looked up: {error}")
    finally:
        link.close()
    if settings.resume == "must":
        raise PenstockError("the run to resume cannot be looked up")
    return {}
