"""`watch` and `unwatch`: norms and histograms of a model's gradients and parameters, every so many passes.

Nothing here raises into a backward pass or an optimizer's step: failures are reported once, and a model
that cannot be watched is left alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from penstock.notices import NOTICES
from penstock.watching.watched_model import WatchedModel

if TYPE_CHECKING:
    from penstock.watching.watched_model import WatchingRun

__all__ = ["unwatch", "watch"]

_KINDS: dict[str | None, tuple[bool, bool]] = {
    "gradients": (True, False),
    "parameters": (False, True),
    "all": (True, True),
    None: (False, False),
}
_watched: list[WatchedModel] = []


def watch(
    run: WatchingRun | None,
    models: Any,
    criterion: Any = None,
    log: str | None = "gradients",
    log_freq: int = 1000,
    idx: int | None = None,
    log_graph: bool = False,
) -> None:
    """Log norms and histograms of one or several PyTorch models, every `log_freq` backward passes.

    log: "gradients", "parameters", "all", or None for nothing. idx: the first model's number, by default
    counted on; from 1 on, names begin with `graph_1` and so on, as W&B's do. `criterion` and `log_graph` have no
    effect. A model that is watched already gets the new arguments.

    What cannot be watched is reported once and left alone. Raises ValueError or TypeError instead with the
    setting `strict`.
    """
    if run is None:
        NOTICES.warn("watch init", "watch(): call init() first; nothing is watched")
        return
    try:
        _watch(run, models, log, log_freq, idx)
    except Exception as error:  # the seam: training continues in any case
        if run.settings.strict:
            raise
        NOTICES.warn(f"watch {error}", f"watch(): {error}; nothing is watched")
    if log_graph:
        NOTICES.warn("watch graph", "watch(): log_graph has no effect in Penstock")


def unwatch(run: WatchingRun | None, models: Any = None) -> None:
    """Remove all hooks of the run's watched models, or of these."""
    wanted = None if models is None else [id(each) for each in _listed(models)]
    for watched in [*_watched]:
        if run is not None and watched.run is not run:
            continue
        if wanted is None or id(watched.model) in wanted:
            watched.stop()
    _forget_stopped()


def _watch(run: WatchingRun, models: Any, log: str | None, log_freq: int, idx: int | None) -> None:
    if log not in _KINDS:
        raise ValueError(f"log must be 'gradients', 'parameters', 'all' or None, not {log!r}")
    every = int(log_freq)
    if every < 1:
        raise ValueError(f"log_freq must be at least 1, not {log_freq!r}")
    torch: Any = sys.modules.get("torch")
    given = _listed(models)
    for model in given:
        if torch is None or not isinstance(model, torch.nn.Module):
            raise TypeError(f"only PyTorch models can be watched, not {type(model).__name__}")
    gradients, parameters = _KINDS[log]
    if run.disabled or run.finished or not run.is_kept or not (gradients or parameters):
        return
    _forget_stopped()
    for model in given:
        for watched in [each for each in _watched if each.model is model and each.run is run]:
            watched.stop()
            idx = watched.number if idx is None and len(given) == 1 else idx
    _forget_stopped()
    first = _next_number(run) if idx is None else idx
    for number, model in enumerate(given, first):
        if not any(each.requires_grad for each in model.parameters()):
            NOTICES.warn("watch frozen", "watch(): no parameter of the model requires a gradient")
        _watched.append(
            WatchedModel(
                run, torch, model, number, gradients=gradients, parameters=parameters, every=every
            )
        )


def _listed(models: Any) -> Sequence[Any]:
    return models if isinstance(models, (list, tuple)) else (models,)


def _next_number(run: WatchingRun) -> int:
    return 1 + max((each.number for each in _watched if each.run is run), default=-1)


def _forget_stopped() -> None:
    _watched[:] = [each for each in _watched if not each.is_stopped]
