"""Penstock: self-hosted experiment tracking with the API of wandb; nothing is lost.

    import penstock

    run = penstock.init(project="mnist", config={"lr": 1e-3})
    for batch in loader:
        penstock.log({"loss": train(batch)})
    penstock.finish()

Importing this is cheap: `init` loads what a run needs. Names of W&B's that are not here warn once and do nothing,
or raise `NotSupported` if they would return data; docs/wandb-names.md lists all of them.
"""

# Imports inside functions keep `import penstock` cheap.
# ruff: noqa: PLC0415

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from penstock.runs.metrics import MetricDefinition
    from penstock.runs.run import Run
    from penstock.settings import Settings
    from penstock.values.fields import Config, Summary

__version__ = "0.1.0"

__all__ = [
    "AlertLevel",
    "Api",
    "Error",
    "NotSupported",
    "Run",
    "Settings",
    "__version__",
    "agent",
    "alert",
    "attach",
    "config",
    "define_metric",
    "finish",
    "init",
    "join",
    "log",
    "login",
    "mark_preempting",
    "run",
    "setup",
    "summary",
    "sweep",
    "teardown",
    "termerror",
    "termlog",
    "termwarn",
    "unwatch",
    "watch",
]

run: Run | None = None
"""The current run."""
config: Config
summary: Summary


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
    force: bool | None = None,
    reinit: str | bool | None = None,
    resume: str | bool | None = None,
    resume_from: str | None = None,
    fork_from: str | None = None,
    save_code: bool | None = None,
    tensorboard: bool | None = None,
    sync_tensorboard: bool | None = None,
    monitor_gym: bool | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
    **others: Any,
) -> Run:
    """Start a run; see `penstock.runs.session.init` for the arguments."""
    given = {key: value for key, value in locals().items() if key != "others"}
    from penstock.runs import session

    if (assigned := globals().pop("config", None)) is not None:  # `wandb.config = {…}` before this
        __getattr__("config").update(assigned)
    session.on_change(_follow)
    return session.init(**given, **others)


def log(
    data: Mapping[str, Any],
    step: int | None = None,
    commit: bool | None = None,
    sync: bool | None = None,
) -> None:
    """Log a row to the current run; see `penstock.runs.run.Run.log`."""
    _active("log").log(data, step, commit)


def finish(exit_code: int | None = None, quiet: bool | None = None) -> None:
    """Finish the current run and wait until the server has stored it."""
    if run is not None:
        from penstock.runs import session

        session.finish(exit_code, quiet)


def join(exit_code: int | None = None) -> None:
    """An older name of `finish`."""
    finish(exit_code)


def define_metric(
    name: str,
    step_metric: Any = None,
    step_sync: bool | None = None,
    hidden: bool | None = None,
    summary: str | None = None,
    overwrite: bool | None = None,
    **options: Any,
) -> MetricDefinition:
    """Define how a metric of the current run is summarised and plotted."""
    define = _active("define_metric").define_metric
    return define(name, step_metric, step_sync, hidden, summary, overwrite, **options)


def alert(title: str, text: str = "", level: Any = None, wait_duration: Any = None) -> None:
    """Record an alert with the current run."""
    _active("alert").alert(title, text, level, wait_duration)


def watch(
    models: Any,
    criterion: Any = None,
    log: str | None = "gradients",
    log_freq: int = 1000,
    idx: int | None = None,
    log_graph: bool = False,
) -> None:
    """Record norms and histograms of the gradients, parameters or both (`log="all"`) of PyTorch models with the
    current run, every `log_freq` batches; see `penstock.watching.watch.watch`."""
    from penstock.watching.watch import watch as start

    start(run, models, criterion, log, log_freq, idx, log_graph)


def unwatch(models: Any = None) -> None:
    """Undo `watch` for these models, or all."""
    from penstock.watching.watch import unwatch as stop

    stop(run, models)


def mark_preempting() -> None:
    """Record that the current run is about to be stopped from outside."""
    _active("mark_preempting").mark_preempting()


def login(
    key: str | None = None,
    relogin: bool | None = None,
    host: str | None = None,
    force: bool | None = None,
    timeout: int | None = None,
    verify: bool = True,
    referrer: str | None = None,
    prompt: bool = True,
    **others: Any,
) -> bool:
    """Check an API key with its server and save both, the server as the default; see
    `penstock.commands.signin.login`."""
    from penstock.commands.signin import login as log_in

    return log_in(key=key, relogin=relogin, host=host, prompt=prompt)


def sweep(
    sweep: Any,
    entity: str | None = None,
    project: str | None = None,
    prior_runs: Any = None,
    **others: Any,
) -> str:
    """Create a sweep and return its id; see `penstock.sweeps.sweep_link.sweep` for the arguments."""
    from penstock.sweeps.sweep_link import sweep as make

    _note_arguments("sweep", {"prior_runs": prior_runs})
    return make(sweep, entity, project, **others)


def agent(
    sweep_id: str,
    function: Callable[[], Any] | None = None,
    entity: str | None = None,
    project: str | None = None,
    count: int | None = None,
    forward_signals: bool = False,
    term_timeout: int | None = None,
    max_consecutive_failed_runs: int | None = None,
) -> None:
    """Run trials of a sweep; see `penstock.sweeps.agents.agent` for the arguments."""
    from penstock.runs import session
    from penstock.sweeps.agents import agent as work

    without_effect = {
        "forward_signals": forward_signals or None,
        "term_timeout": term_timeout,
        "max_consecutive_failed_runs": max_consecutive_failed_runs,
    }
    _note_arguments("agent", without_effect)
    session.on_change(_follow)
    work(sweep_id, function, entity, project, count)


def setup(settings: Any = None) -> Any:
    """Set the defaults of later runs: settings below those that `init` is given. Nothing has to be set up."""
    from penstock.runs import session

    return session.setup(settings)


def teardown(exit_code: int | None = None) -> None:
    """Finish all runs of this process."""
    from penstock.runs import session

    session.finish_all(exit_code or 0)


def attach(
    attach_id: str | None = None, run_id: str | None = None, *, run: Run | None = None
) -> Run:
    """The run of this process with this id. Raises UsageError if there is none: another process gets a run by
    passing the `Run` itself, which can be pickled."""
    from penstock.runs import session

    return run or session.attached(run_id or attach_id or "")


def ensure_configured() -> None:
    """Does nothing: nothing has to be set up."""


def require(
    requirement: str | Iterable[str] | None = None, experiment: str | Iterable[str] | None = None
) -> None:
    """Does nothing: no feature has to be asked for."""


def termlog(
    string: str = "", newline: bool = True, repeat: bool = True, prefix: bool = True
) -> None:
    """Print a line on stderr, unless `silent`; with `repeat=False` only the first time."""
    from penstock.notices import NOTICES

    NOTICES.term(string, newline=newline, repeat=repeat, prefix="penstock: " if prefix else "")


def termwarn(string: str, newline: bool = True, repeat: bool = True, prefix: bool = True) -> None:
    """Like `termlog`, as a warning."""
    termlog(f"warning: {string}", newline, repeat, prefix)


def termerror(string: str, newline: bool = True, repeat: bool = True, prefix: bool = True) -> None:
    """Like `termlog`, as an error."""
    termlog(f"error: {string}", newline, repeat, prefix)


def termsetup(settings: Any = None, logger: Any = None) -> None:
    """Does nothing: there is nothing to set up."""


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext penstock`; see `penstock.notebook`."""
    from penstock.notebook import load_ipython_extension as load

    load(shell)


# No module of this package may share a name with anything in `__all__`: importing it would replace it.
_LAZY = {
    "AlertLevel": "penstock.runs.metrics",
    "Api": "penstock.reading.api",
    "AuthenticationError": "penstock.errors",
    "CommError": "penstock.errors",
    "Config": "penstock.values.fields",
    "Error": "penstock.errors",
    "NotSupported": "penstock.errors",
    "PenstockError": "penstock.errors",
    "Run": "penstock.runs.run",
    "Settings": "penstock.settings",
    "UsageError": "penstock.errors",
}
_MODULES = {
    "apis": "penstock.apis",
    "data_types": "penstock.data_types",
    "env": "penstock.env",
    "errors": "penstock.errors",
    "sdk": "penstock.sdk",
    "util": "penstock.util",
    "wandb_sdk": "penstock.sdk",
}
_PARTS = ("penstock.sdk.wandb_run", "penstock.apis.public")
"""Modules that W&B imports with itself."""


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name in _MODULES:
        for part in _PARTS:
            if part.startswith(f"{_MODULES[name]}."):
                import_module(part)
        return import_module(_MODULES[name])
    if name in ("config", "summary"):
        if run is not None:
            return getattr(run, name)
        return getattr(import_module("penstock.runs.before_init"), name)
    if name.startswith("_"):
        raise AttributeError(f"module 'penstock' has no attribute {name!r}")
    from penstock.surface.absent import absent
    from penstock.surface.logging_names import MODULE

    return absent(MODULE, name, "penstock")


def __dir__() -> list[str]:
    from penstock.surface.absent import usable
    from penstock.surface.logging_names import MODULE

    return sorted({*globals(), *_LAZY, *usable(MODULE)})


def _active(what: str) -> Run:
    if run is None:
        from penstock.errors import UsageError

        raise UsageError(f"call penstock.init() before penstock.{what}")
    return run


def _note_arguments(function: str, given: Mapping[str, Any]) -> None:
    """Say which given arguments have no effect."""
    if any(value is not None for value in given.values()):
        from penstock.surface.arguments import note_arguments

        note_arguments(function, given)


_log_to_current = log


def _follow(current: Run | None) -> None:
    """Bind the module's names to the current run; `log` becomes the run's own, which saves a call."""
    global run, log
    run = current
    log = _log_to_current if current is None else current.log


if "IPython" in sys.modules:  # set the magics up before the first cell that uses them
    from penstock.runs.hooks import in_kernel

    if in_kernel():
        from penstock.notebook import set_up

        set_up()
