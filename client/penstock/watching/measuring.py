"""Measures the gradients and parameters of a model where they lie, and turns the result into a row."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from penstock.values.aside import reason_of
from penstock.values.host_copies import HostCopy
from penstock.values.statistics import Statistics, measure, new_rows
from penstock.values.tensors import is_shard, stored

__all__ = ["Measured", "measured"]


@dataclass(frozen=True, slots=True)
class _Part:
    """A tensor that is measured. `family` is `gradients` or `parameters`; `elements` includes `zeros`."""

    family: str
    name: str
    elements: int
    zeros: int


@dataclass(frozen=True, slots=True)
class _Copied:
    """What was measured on one device."""

    parts: list[_Part]
    rows: HostCopy


@dataclass(slots=True)
class Measured:
    """What is on its way from the devices. `failed`: what could not be measured, and why."""

    copies: list[_Copied]
    scale: HostCopy | None
    prefix: str
    failed: dict[str, str] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """Waits until it has arrived. Gradients are as they would be without the loss's scale."""
        scale = 1.0 if self.scale is None else float(self.scale.read().reshape(-1)[0].item())
        row: dict[str, Any] = {}
        totals: dict[str, float] = {}
        others: dict[str, int] = {}
        for copied in self.copies:
            for part, numbers in zip(copied.parts, copied.rows.read().tolist(), strict=True):
                is_gradient = part.family == "gradients"
                factor = 1 / scale if is_gradient and scale else 1.0
                found = Statistics(numbers, part.elements, part.zeros, factor)
                singular = "grad" if is_gradient else "param"
                histogram = found.histogram()
                if histogram is not None:
                    row[f"{part.family}/{part.name}"] = histogram
                row[f"{singular}_norm/{part.name}"] = found.norm
                if found.others:
                    row[f"{singular}_nonfinite/{part.name}"] = found.others
                totals[singular] = totals.get(singular, 0.0) + found.norm * found.norm
                others[singular] = others.get(singular, 0) + found.others
        total = f"{self.prefix}.total" if self.prefix else "total"
        for singular, squares in totals.items():
            row[f"{singular}_norm/{total}"] = math.sqrt(squares)
            row[f"{singular}_nonfinite/{total}"] = others[singular]
        return row


def measured(
    torch: Any, model: Any, *, prefix: str, gradients: bool, parameters: bool, scale: Any,
    left_out: dict[str, str],
) -> Measured:  # fmt: skip
    """Measure all parameters of a model; those in `left_out` failed before. Does not wait for a device.
    `scale`: a tensor by which the gradients were multiplied."""
    found = Measured([], None if scale is None else HostCopy(torch, scale), prefix)
    with torch.no_grad():
        by_device: dict[Any, list[tuple[_Part, Any]]] = {}
        for family, name, tensor in _named(model, gradients=gradients, parameters=parameters):
            key = f"{family}/{prefix}{name}"
            if key in left_out:
                continue
            try:
                numbers, zeros = _numbers(torch, tensor)
            except Exception as error:  # the seam: one odd tensor costs only itself
                found.failed[key] = reason_of(error)
                continue
            if numbers is not None:
                part = _Part(family, f"{prefix}{name}", numbers.numel() + zeros, zeros)
                by_device.setdefault(numbers.device, []).append((part, numbers))
        for device, pairs in by_device.items():
            rows = new_rows(torch, len(pairs), device)
            kept: list[_Part] = []
            for part, numbers in pairs:
                row = rows[len(kept)]
                try:
                    measure(torch, numbers, row, zeros=part.zeros)
                except Exception as error:  # the seam, as above
                    row.zero_()
                    found.failed[f"{part.family}/{part.name}"] = reason_of(error)
                else:
                    kept.append(part)
            if kept:
                found.copies.append(_Copied(kept, HostCopy(torch, rows[: len(kept)])))
    return found


def _named(model: Any, *, gradients: bool, parameters: bool) -> Iterator[tuple[str, str, Any]]:
    """Shared parameters once, by their first name."""
    for name, parameter in model.named_parameters():
        if gradients and parameter.grad is not None:
            yield "gradients", name, parameter.grad
        if parameters:
            yield "parameters", name, parameter


def _numbers(torch: Any, tensor: Any) -> tuple[Any, int]:
    """The stored elements that this process has, and the number of implicit zeros. None for tensors without
    data, without elements here, or of packed integers."""
    tensor = (tensor._local_tensor if is_shard(tensor) else tensor).detach()
    if tensor.device.type == "meta" or tensor.numel() == 0:
        return None, 0
    tensor, zeros = stored(torch, tensor)
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return None, 0
    return tensor, zeros
