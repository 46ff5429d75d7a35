"""One model that a run watches: decides at which passes it is measured, and logs what was found."""

from __future__ import annotations

import os
import sys
import weakref
from typing import Any, Protocol

from penstock.notices import NOTICES
from penstock.values.host_copies import is_capturing
from penstock.values.slowpath import SlowPath
from penstock.watching.gradient_scale import SCALES
from penstock.watching.measuring import Measured, measured
from penstock.watching.passes import Passes

__all__ = ["WatchedModel", "WatchingRun"]

_MAX_WAITING = 4
"""Measurements of one model on their way; further ones are skipped until one has arrived."""


class WatchingRun(Protocol):
    """What is used of a run."""

    settings: Any
    finished: bool
    disabled: bool
    is_kept: bool
    _slow_path: SlowPath


class WatchedModel:
    """Hooked until `stop`, or until the model or the run is gone. Keeps neither's model alive.

    Measured every `every` passes, at the pass that completes the gradients of an optimizer's step:
    with accumulation, this is the last of several passes, which the steps before have shown.
    """

    def __init__(
        self, run: WatchingRun, torch: Any, model: Any, number: int, *,
        gradients: bool, parameters: bool, every: int,
    ) -> None:  # fmt: skip
        self.run = run
        self.number = number
        self.is_stopped = False
        self._torch = torch
        self._model = weakref.ref(model, lambda _: self.stop())
        self._prefix = f"graph_{number}" if number > 0 else ""
        self._gradients, self._parameters = gradients, parameters
        self._every = every
        self._passes = 0
        """Since it was measured last."""
        self._since_step = 0
        self._per_step = 1
        self._stepped: set[int] = set()
        """Optimizers that have made a step since the last pass."""
        self._unseen = 0
        self._scaled_before = SCALES.calls
        self._process = os.getpid()
        self._waiting = 0
        self._left_out: dict[str, str] = {}
        SCALES.listen(torch)
        try:
            self._hooks = Passes(torch, model, self._on_pass, self._on_step)
        except BaseException:
            self.is_stopped = True
            SCALES.forget()
            raise

    @property
    def model(self) -> Any:
        """None if it is gone."""
        return self._model()

    def stop(self) -> None:
        """Remove all hooks."""
        if not self.is_stopped:
            self.is_stopped = True
            SCALES.forget()
            self._hooks.stop()

    def _on_pass(self) -> None:
        try:
            if not self._is_over():
                is_scaled = SCALES.calls != self._scaled_before
                self._scaled_before = SCALES.calls
                self._passes += 1
                self._since_step += 1
                if self._passes >= self._every and self._since_step >= self._per_step:
                    self._measure(SCALES.current() if is_scaled else None)
        except Exception as error:  # the seam: nothing raises into a backward pass
            self._give_up(error)

    def _on_step(self, optimizer: Any) -> None:
        """After an optimizer's step. Measures if no pass did: there were fewer than usual, or no hook
        saw them."""
        try:
            if self._is_over():
                return
            if self._since_step:
                self._per_step, self._since_step = self._since_step, 0
                self._stepped = {id(optimizer)}
            elif id(optimizer) not in self._stepped:
                self._stepped.add(id(optimizer))  # one of several for the same model
            else:
                self._unseen += 1
                self._passes += 1
                if self._unseen & (self._unseen - 1) == 0:
                    self._hooks.hook_again()
            if self._passes >= self._every:
                self._measure(None)
        except Exception as error:  # the seam, as above
            self._give_up(error)

    def _measure(self, scale: Any) -> None:
        model = self._model()
        if self._process != os.getpid():
            self._process, self._waiting = os.getpid(), 0
        if self._waiting >= _MAX_WAITING or is_capturing(self._torch):
            return
        dynamo: Any = sys.modules.get("torch._dynamo")
        # A step that is compiled as a whole must not compile this.
        measure = measured if dynamo is None else dynamo.disable(measured)
        found: Measured = measure(
            self._torch,
            model,
            prefix=self._prefix,
            gradients=self._gradients,
            parameters=self._parameters,
            scale=scale,
            left_out=self._left_out,
        )
        self._passes = 0
        for key, reason in found.failed.items():
            self._left_out[key] = reason
            NOTICES.warn("watch left out", f"watch(): {key} is left out: {reason}")
        if not found.copies:
            NOTICES.warn("watch nothing", "watch(): the model has no gradients after its pass")
            return
        self._waiting += 1
        if not self.run._slow_path.append_aside(lambda: self._arrived(found)):
            self._waiting -= 1

    def _arrived(self, found: Measured) -> dict[str, Any]:
        try:
            return found.row()
        finally:
            self._waiting -= 1

    def _is_over(self) -> bool:
        if self.is_stopped:
            return True
        if self.run.finished or self._model() is None:
            self.stop()
        return self.is_stopped

    def _give_up(self, error: Exception) -> None:
        self.stop()
        NOTICES.warn("watch", f"watch(): the model is no longer watched: {error!r}")
