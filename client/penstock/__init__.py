"""Penstock: self-hosted experiment tracking with the API of wandb; nothing is lost.

    import penstock

    run = penstock.init(project="mnist", config={"lr": 1e-3})
    for batch in loader:
        penstock.log({"loss": train(batch)})
    penstock.finish()

Importing this is cheap: `init` loads what a run needs.
"""

# Imports inside functions keep `import penstock` cheap.
# ruff: noqa: PLC0415

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock.runs.run import Run
    from penstock.settings import Settings
    from penstock.values.fields import Config, Summary

__version__ = "0.1.0"

__all__ = [
    "Api",
    "Settings",
    "__version__",
    "agent",
    "alert",
    "config",
    "define_metric",
    "finish",
    "init",
    "log",
    "login",
    "run",
    "summary",
    "sweep",
    "unwatch",
    "watch",
]

run: Run | None = None
"""The current run."""
config: Config
summary: Summary


def init(*args: Any, **kwargs: Any) -> Run:
    """Start a run; see `penstock.runs.session.init` for the arguments."""
    from penstock.runs import session

    session.on_change(_follow)
    return session.init(*args, **kwargs)


def log(data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
    """Log a row to the current run; see `penstock.runs.run.Run.log`."""
    _active("log").log(data, step, commit)


def finish(exit_code: int | None = None, quiet: bool | None = None) -> None:
    """Finish the current run and wait until the server has stored it."""
    if run is not None:
        from penstock.runs import session

        session.finish(exit_code, quiet)


def define_metric(name: str, step_metric: Any = None, **options: Any) -> None:
    """Define how a metric of the current run is summarised and plotted."""
    _active("define_metric").define_metric(name, step_metric, **options)


def alert(title: str, text: str = "", level: Any = "INFO", **options: Any) -> None:
    """Record an alert with the current run."""
    _active("alert").alert(title, text, level, **options)


def login(
    key: str | None = None, host: str | None = None, relogin: bool | None = None, **others: Any
) -> bool:
    """Check an API key with its server and save both, the server as the default; see
    `penstock.commands.signin.login`."""
    from penstock.commands.signin import login as log_in

    return log_in(key=key, host=host, relogin=relogin)


def sweep(sweep: Any, *args: Any, **kwargs: Any) -> str:
    """Create a sweep and return its id; see `penstock.sweeps.sweep_link.sweep` for the arguments."""
    from penstock.sweeps.sweep_link import sweep as make

    return make(sweep, *args, **kwargs)


def agent(sweep_id: str, *args: Any, **kwargs: Any) -> None:
    """Run trials of a sweep; see `penstock.sweeps.agents.agent` for the arguments."""
    from penstock.runs import session
    from penstock.sweeps.agents import agent as work

    session.on_change(_follow)
    work(sweep_id, *args, **kwargs)


def watch(models: Any, *args: Any, **kwargs: Any) -> None:
    """Log norms and histograms of a PyTorch model's gradients; see `penstock.watching.watch.watch`."""
    from penstock.watching.watch import watch as start

    start(run, models, *args, **kwargs)


def unwatch(models: Any = None) -> None:
    """Stop watching these models, or all of the current run's."""
    from penstock.watching.watch import unwatch as stop

    stop(run, models)


# No module of this package may share a name with anything here: importing it would replace it.
_LAZY = {"Settings": "penstock.settings", "Api": "penstock.reading.api", "Run": "penstock.runs.run"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    if name in ("config", "summary"):
        if run is not None:
            return getattr(run, name)
        raise AttributeError(f"call penstock.init() before penstock.{name}")
    raise AttributeError(f"module 'penstock' has no attribute {name!r}")


def _active(what: str) -> Run:
    if run is None:
        from penstock.errors import PenstockError

        raise PenstockError(f"call penstock.init() before penstock.{what}")
    return run


_log_to_current = log


def _follow(current: Run | None) -> None:
    """Bind the module's names to the current run; `log` becomes the run's own, which saves a call."""
    global run, log
    run = current
    log = _log_to_current if current is None else current.log
