"""Curves of a run as HTML with SVG, for the output of a notebook's cell: from this process's own rows, without
the server.

The server's page cannot be framed, on purpose; this shows what is logged now, and links to the page for
the rest. Rows are read from the spool a moment after they were logged, so `log` does nothing for it.
"""

from __future__ import annotations

import html
import math
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack

from penstock.spool.record import (
    FIRST_OFFSET,
    PAYLOAD_HEAD,
    RECORD_HEAD,
    PayloadKind,
    aligned,
    segment_name,
)

__all__ = ["CellChart"]

_MAX_POINTS = 512
_MAX_KEYS = 200
_SHOWN_KEYS = 9
_READ_S = 0.03
"""How long one look may take: it shares the interpreter with the training script."""
_WIDTH, _HEIGHT, _MARGIN = 260, 90, 4
_STYLE = "display:inline-block;margin:4px 12px 4px 0;font:12px/1.4 sans-serif"


class CellChart:
    """The curves of what one writer logs; `folder`: its spool."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._segment = 0
        self._offset = FIRST_OFFSET
        self._shapes: dict[int, list[str]] = {}
        self._curves: dict[str, _Curve] = {}
        self.rows = 0

    def look(self) -> bool:
        """Read what was logged since; returns whether there is something new. Raises nothing."""
        before = self.rows
        until = time.monotonic() + _READ_S
        try:
            while time.monotonic() < until and self._read(until):
                pass
        except (OSError, ValueError, TypeError):  # deleted meanwhile, because it is stored
            pass
        return self.rows > before

    def html(self, title: str, url: str, state: str) -> str:
        """`title`, `url` and `state`: those of the run."""
        shown = [(key, curve) for key, curve in self._curves.items() if curve.points][:_SHOWN_KEYS]
        charts = "".join(_chart(key, curve) for key, curve in shown)
        more = len(self._curves) - len(shown)
        left = f"<div>{more} more on the run's page</div>" if more > 0 else ""
        link = (
            f'<a href="{html.escape(url, quote=True)}" target="_blank" rel="noopener">'
            f"{html.escape(title)}</a>"
        )
        return (
            f'<div style="font:13px/1.5 sans-serif">{link} · {html.escape(state)}</div>'
            f"<div>{charts}</div>{left}"
        )

    def _read(self, until: float) -> bool:
        """Read some of a segment; returns whether there may be more now."""
        path = self._folder / segment_name(self._segment)
        if not self._segment or not path.exists():
            return self._go_on()
        with path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        has_any = False
        for kind, shape, step, body in _records(data):
            has_any = True
            self._offset += aligned(RECORD_HEAD.size + PAYLOAD_HEAD.size + len(body))
            if kind == PayloadKind.SHAPE:
                self._shapes[shape] = msgpack.unpackb(body)
            elif kind == PayloadKind.ROW:
                self._take(
                    self._shapes.get(shape, []), step, msgpack.unpackb(body, strict_map_key=False)
                )
            if time.monotonic() > until:
                return True
        return has_any or self._go_on()

    def _go_on(self) -> bool:
        """Turn to the next segment, if there is one."""
        numbers = sorted(
            int(each.stem) for each in self._folder.glob("*.seg") if each.stem.isdigit()
        )
        later = next((number for number in numbers if number > self._segment), None)
        if later is None:
            return False
        self._segment, self._offset, self._shapes = later, FIRST_OFFSET, {}
        return True

    def _take(self, keys: list[str], step: int, values: list[Any]) -> None:
        self.rows += 1
        for key, value in zip(keys, values, strict=False):
            if type(value) not in (int, float) or not math.isfinite(value):
                continue
            curve = self._curves.get(key)
            if curve is None:
                if len(self._curves) >= _MAX_KEYS:
                    continue
                curve = self._curves[key] = _Curve()
            curve.add(step, float(value))


class _Curve:
    """The points of one key; many are put together, with their minimum and maximum."""

    def __init__(self) -> None:
        self.points: list[tuple[int, float, float]] = []
        self.last = math.nan
        self.highest = 0
        """The highest step."""
        self._stride = 1
        self._in_last = 0

    def add(self, step: int, value: float) -> None:
        self.last = value
        self.highest = max(self.highest, step) if self.points else step
        if self._in_last and self._in_last < self._stride:
            first, low, high = self.points[-1]
            self.points[-1] = first, min(low, value), max(high, value)
            self._in_last += 1
            return
        self.points.append((step, value, value))
        self._in_last = 1
        if len(self.points) > _MAX_POINTS:
            pairs = zip(self.points[::2], [*self.points[1::2], self.points[-1]], strict=False)
            self.points = [(a[0], min(a[1], b[1]), max(a[2], b[2])) for a, b in pairs]
            self._stride *= 2


def _records(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The complete records at the beginning: kind, shape, step and body."""
    at = 0
    while at + RECORD_HEAD.size + PAYLOAD_HEAD.size <= len(data):
        length, checksum = RECORD_HEAD.unpack_from(data, at)
        start = at + RECORD_HEAD.size
        payload = data[start : start + length]
        if length < PAYLOAD_HEAD.size or len(payload) < length or zlib.crc32(payload) != checksum:
            return
        kind, shape, step, _ = PAYLOAD_HEAD.unpack_from(payload)
        yield kind, shape, step, payload[PAYLOAD_HEAD.size :]
        at = aligned(start + length)


def _chart(key: str, curve: _Curve) -> str:
    points = sorted(curve.points)
    low = min(low for _, low, _ in points)
    high = max(high for _, _, high in points)
    first, last = points[0][0], curve.highest
    wide = (_WIDTH - 2 * _MARGIN) / max(last - first, 1)
    tall = (_HEIGHT - 2 * _MARGIN) / ((high - low) or 1.0)
    places: list[str] = []
    for step, least, most in points:
        x = _MARGIN + (step - first) * wide
        for value in (least, most) if least != most else (least,):
            y = _HEIGHT / 2 if low == high else _HEIGHT - _MARGIN - (value - low) * tall
            places.append(f"{x:.1f},{y:.1f}")
    if len(places) == 1:
        places = [f"{_MARGIN},{_HEIGHT / 2}", f"{_WIDTH - _MARGIN},{_HEIGHT / 2}"]
    name = html.escape(key if len(key) <= 40 else f"{key[:39]}…")
    return (
        f'<div style="{_STYLE}"><b>{name}</b> {curve.last:.5g}<br>'
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f"<title>{name}: {low:.5g} to {high:.5g}, steps {first} to {last}</title>"
        f'<rect width="100%" height="100%" fill="currentColor" opacity="0.05"/>'
        f'<polyline points="{" ".join(places)}" fill="none" stroke="#2a78d6" stroke-width="1.5"/></svg><br>'
        f"{low:.4g} … {high:.4g}, steps {first}–{last}</div>"
    )
