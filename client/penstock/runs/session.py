"""The runs of this process: `init`, the current run, and what happens at exit, crash and fork."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from penstock.errors import UsageError
from penstock.notices import NOTICES
from penstock.runs.assignment import Assignment
from penstock.runs.hooks import Hooks, in_kernel
from penstock.runs.lookup import TakenUp, take_up
from penstock.runs.other_client import watch_for_other_client
from penstock.runs.run import Run
from penstock.runs.start import FRESH
from penstock.settings import RUN_SETTINGS, Settings
from penstock.values.arguments import config_of, text_of, texts_of
from penstock.values.configs import swept
from penstock.values.fields import ConfigSelection
from penstock.values.slowpath import SlowPath

__all__ = [
    "attached", "current", "finish", "finish_all", "forget_listener", "init", "on_change", "run_of", "setup",
]  # fmt: skip

_runs: list[Run] = []
_current: Run | None = None
_defaults: dict[str, Any] = {}
_listeners: list[Callable[[Run | None], None]] = []
_OTHER_ARGUMENTS = frozenset({"run_id", *(f"run_{name}" for name in RUN_SETTINGS), *RUN_SETTINGS})
"""Former W&B names of arguments, and fields of the run that are no arguments of their own."""


def init(
    entity: str | None = None,
    project: str | None = None,
    dir: Any = None,
    id: str | None = None,
    name: str | None = None,
    notes: str | None = None,
    tags: Any = None,
    config: Any = None,
    config_exclude_keys: Any = None,
    config_include_keys: Any = None,
    allow_val_change: bool | None = None,
    group: str | None = None,
    job_type: str | None = None,
    mode: str | None = None,
    reinit: str | bool | None = None,
    resume: str | bool | None = None,
    resume_from: str | None = None,
    fork_from: str | None = None,
    save_code: bool | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
    **others: Any,
) -> Run:
    """Start a run and return it; the module's `log`, `config`, `summary` and `finish` act on it.

    Does not wait for the server, except for a few seconds to look up the run to resume. Data goes to
    disk first and a separate process sends it, so this works without a server or a key; if the data
    folder is not writable, another one is used, with a warning.

    config: a mapping, an object with fields, or the path of a YAML file. config_exclude_keys,
    config_include_keys: config entries (dotted names for nested ones) to leave out, or the only ones
    to keep, now and later. mode: "online", "offline" (keep data until `penstock sync`), "disabled"
    (do nothing), or "shared" (several processes log to one run; pass the same `id` in each). reinit:
    what to do if a run is active: "return_previous" (default), "finish_previous" (also True; default
    in notebooks), "create_new". dir: data is kept in its subfolder `penstock`. resume_from: `ID?_step=N`,
    to resume a run after an earlier step; fork_from: the same for a new run, which gets the other's
    history up to there: this waits for the server. save_code: keep the main script with the run. Entries of `penstock.config` that were set before
    go to this run. Other arguments of W&B's `init` are noted once and ignored.

    Raises ValueError for impossible arguments, and PenstockError if the run contradicts `resume`, or if the
    server does not fork; nothing has started then. Invalid environment variables are reported and ignored.
    """
    config = config_of(config)
    selection = ConfigSelection(config_exclude_keys, config_include_keys)
    slow_path = SlowPath()
    given = {
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
        "resume_from": resume_from,
        "fork_from": fork_from,
        "save_code": save_code,
        "reinit": reinit,
        "allow_val_change": allow_val_change,
    }
    resolved = Settings.resolve(
        _over_defaults(settings), {**_by_other_names(others, slow_path), **_stated(given)}
    )
    assignment = Assignment.of(os.environ)
    if assignment is not None:  # started by an agent, whose assignment takes precedence
        resolved.update(assignment.settings, source="the sweep's agent")
    NOTICES.quiet, NOTICES.strict = resolved.silent, resolved.strict
    # A forked child that calls this starts its own run, even if its parent has one.
    active = _current if _current is not None and _current.is_of_this_process else None
    if active is not None and not active.finished:
        if resolved.reinit in (True, "finish_previous") or _is_next_cell(resolved):
            active.finish()
        elif resolved.reinit != "create_new":
            NOTICES.warn("reinit", f"init(): {active!r} is still active; returning it")
            return active
    slow_path.strict = resolved.strict
    early = _set_before_init()
    run = Run(
        resolved,
        config,
        taken_up=_taken_up(resolved),
        selection=selection,
        slow_path=slow_path,
        on_process=_hook,
        on_finish=_forget,
    )
    if early is not None:
        run.config.setdefaults(early[0])
        run.summary.update(early[1])
    if assignment is not None:
        run.config.update(swept(run.config, assignment.parameters), allow_val_change=True)
    _adopt(run, make_current=active is None or active.finished)
    return run


def current() -> Run | None:
    """The run that the module's functions act on."""
    return _current


def finish(exit_code: int | None = None, quiet: bool | None = None) -> None:
    """Finish the current run."""
    if _current is not None:
        _current.finish(exit_code, quiet)


def finish_all(exit_code: int = 0) -> None:
    """Finish every run of this process."""
    _at_exit(exit_code)


def attached(run_id: str) -> Run:
    """The run of this process with this id. Raises UsageError if there is none."""
    for run in _runs:
        if run.id == run_id and not run.finished:
            return run
    raise UsageError(
        f"this process has no run {run_id!r}: pass the Run itself to it, which can be pickled"
    )


def setup(settings: Any = None) -> SimpleNamespace:
    """Make these settings the defaults of later runs. Returns an object with them as `settings`."""
    _defaults.update(_over_defaults(settings))
    return SimpleNamespace(settings=Settings.resolve(_defaults, {}))


def on_change(listener: Callable[[Run | None], None]) -> None:
    """Call `listener` whenever the current run changes."""
    if listener not in _listeners:
        _listeners.append(listener)


def forget_listener(listener: Callable[[Run | None], None]) -> None:
    """Call it no longer."""
    if listener in _listeners:
        _listeners.remove(listener)


def run_of(described: dict[str, Any]) -> Run:
    """A run handed over by another process (`handover.sent`), or this process's own."""
    for known in _runs:
        is_same = known.id == described["run"] and known.project == described["settings"]["project"]
        if is_same and not known.finished:
            return known
    settings = Settings(**described["settings"])
    settings.update({"run_id": described["run"], "name": described["name"]})
    run = Run(
        settings,
        taken_up=TakenUp(FRESH, described["step"]),
        parent=described["parent"] or "-",
        on_process=_hook,
        on_finish=_forget,
    )
    if run.root is None and described["root"] is not None:
        run.root = Path(described["root"])
    run.config._values.update(described["config"])  # the server already has it
    _adopt(run, make_current=False)
    return run


def _taken_up(settings: Settings) -> TakenUp:
    if settings.fork_from is None or settings.mode == "disabled":
        return take_up(settings)
    from penstock.runs.forking import fork  # noqa: PLC0415  (rarely needed)

    return fork(settings, settings.fork_from)


def _over_defaults(settings: Settings | Mapping[str, Any] | None) -> dict[str, Any]:
    if isinstance(settings, Settings):
        settings = {**settings.given, **settings.without_effect}
    return {**_defaults, **(settings or {})}


def _set_before_init() -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """The config and summary that were set before there was a run."""
    before = sys.modules.get("penstock.runs.before_init")
    return None if before is None else before.take()


def _by_other_names(others: dict[str, Any], slow_path: SlowPath) -> dict[str, Any]:
    without_effect = {name: value for name, value in others.items() if name not in _OTHER_ARGUMENTS}
    if any(value is not None for value in without_effect.values()):
        from penstock.surface.arguments import note_arguments  # noqa: PLC0415  (rarely needed)

        note_arguments("init", without_effect)
    known = {name: others[name] for name in others.keys() & _OTHER_ARGUMENTS}
    return {
        name: (texts_of if name == "run_tags" else text_of)(
            slow_path, f"run.{name.removeprefix('run_')}", value
        )
        for name, value in known.items()
    }


def _stated(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _is_next_cell(settings: Settings) -> bool:
    """In a notebook the process outlives the experiment: as in W&B, the next `init` finishes the
    previous run."""
    return settings.reinit is None and in_kernel()


def _adopt(run: Run, *, make_current: bool) -> None:
    _runs[:] = [known for known in _runs if not known.finished]
    _runs.append(run)
    if make_current:
        _set_current(run)
    if not run.disabled:
        _hook()
        watch_for_other_client(run)


def _set_current(run: Run | None) -> None:
    global _current
    _current = run
    for listener in _listeners:
        listener(run)


def _forget(run: Run) -> None:
    """A run has finished: the module's functions no longer act on it."""
    if run is _current:
        _set_current(None)


def _at_exit(exit_code: int) -> None:
    for run in list(_runs):
        run.finish(exit_code=exit_code)


def _at_once(exit_code: int) -> None:
    for run in list(_runs):
        run.end_at_once(exit_code)


def _after_fork() -> None:
    NOTICES.forget_after_fork()
    for run in _runs:
        run.forget_after_fork()


def _note_preempting(go_on: Callable[[], None]) -> None:
    """On SIGTERM: this process's runs are about to be stopped from outside."""
    interrupted = [run for run in list(_runs) if not run.interject(run.mark_preempting)]
    if interrupted:  # the signal interrupted a `log` call, which may finish
        interrupted[0].interject(go_on)
    else:
        go_on()


_hooks = Hooks(
    at_exit=_at_exit, at_once=_at_once, after_fork=_after_fork, on_preempt=_note_preempting
)


def _hook() -> None:
    _hooks.set()
