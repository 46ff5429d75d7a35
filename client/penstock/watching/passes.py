"""Tells when a backward pass of a model has ended, with all of its gradients in place.

Hooks on a few parameters announce that a pass is under way; its end is a callback of the autograd engine,
put last, so that DDP and FSDP have finished reducing. A hook on optimizers' steps tells how many
passes belong to one step, and stands in for passes that no hook saw: FSDP's original parameters
have no gradients of their own during a pass.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["Passes"]

_MAX_HOOKED = 8


class Passes:
    """The passes of one model, until `stop`. Calls `on_pass()` at the end of each, and `on_step(optimizer)`
    after each step of an optimizer that has some of the model's parameters. The model is not kept alive."""

    def __init__(
        self, torch: Any, model: Any, on_pass: Callable[[], None], on_step: Callable[[Any], None]
    ) -> None:
        self._engine = torch.autograd.Variable._execution_engine
        self._model = weakref.ref(model)
        self._on_pass, self._on_step = on_pass, on_step
        self._announced = False
        self._handles: list[Any] = []
        self._ours: weakref.WeakKeyDictionary[Any, tuple[int, bool]] = weakref.WeakKeyDictionary()
        """By optimizer: its number of parameter groups, and whether it has some of the model's."""
        optimizers = import_module("torch.optim.optimizer")  # `torch.optim` hides it
        self._step_handle = optimizers.register_optimizer_step_post_hook(self._stepped)
        self.hook_again()

    def hook_again(self) -> None:
        """Choose the parameters again: some may have been frozen, or replaced, or take no part."""
        self._unhook()
        model = self._model()
        if model is None:
            return
        trained = [each for each in model.parameters() if each.requires_grad and each.is_leaf]
        taking_part = [each for each in trained if each.grad is not None] or trained
        for parameter in _spread(taking_part, _MAX_HOOKED):
            self._handles.append(parameter.register_post_accumulate_grad_hook(self._announce))

    def stop(self) -> None:
        """Remove all hooks."""
        self._unhook()
        self._step_handle.remove()

    def _unhook(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _announce(self, parameter: Any) -> None:
        if self._announced:
            return
        self._announced = True
        try:
            self._engine.queue_callback(self._last)
        except Exception:  # not in a backward pass: somebody calls the hooks
            self._announced = False

    def _last(self) -> None:
        """Wait for the callbacks of others, some of which were queued later."""
        try:
            self._engine.queue_callback(self._ended)
        except Exception:
            self._ended()

    def _ended(self) -> None:
        self._announced = False
        self._on_pass()

    def _stepped(self, optimizer: Any, args: Any, named: Any) -> None:
        try:
            if self._is_ours(optimizer):
                self._announced = False  # also after a pass that failed
                self._on_step(optimizer)
        except Exception:  # an optimizer of another kind
            return

    def _is_ours(self, optimizer: Any) -> bool:
        groups = len(optimizer.param_groups)
        known = self._ours.get(optimizer)
        if known is None or known[0] != groups:
            model = self._model()
            parameters = set() if model is None else {id(each) for each in model.parameters()}
            is_ours = any(
                id(each) in parameters
                for group in optimizer.param_groups
                for each in group["params"]
            )
            known = self._ours[optimizer] = groups, is_ours
        return known[1]


def _spread(items: list[Any], most: int) -> list[Any]:
    """Some of the items, evenly spaced, the first and the last included."""
    if len(items) <= most:
        return items
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
