"""Notices about lost data, which the server shows on the run's page.

Refused or unprocessable batches, dropped rows and damaged bytes are reported in a field of the run.
The text is stored with a cut, like everything that a batch is built from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from penstock import __version__
from penstock.shipper.cuts import Cut
from penstock.spool.progress import Progress

__all__ = ["LossNotices", "notice_records"]

_NOTICE = "notice"
_FIELD = "notice delivery"
_MAX_NOTICES = 20
"""A notice may itself be refused: do not repeat it forever."""


class LossNotices:
    """The notices sent for one spool's run."""

    def __init__(self, host: str, cuts: Iterable[Cut]) -> None:
        sent = [str(cut.client[_NOTICE]) for cut in cuts if cut.client.get(_NOTICE)]
        self._host = host
        self._last = sent[-1] if sent else ""
        self._count = len(sent)

    def is_due(self, progress: Progress) -> bool:
        """Whether there is something new to report."""
        return self._count < _MAX_NOTICES and self._text(progress) not in ("", self._last)

    def client(self, progress: Progress, *, retries: int, dropped: int) -> dict[str, Any]:
        """The `client` field of the next batch, with anything new to report."""
        fields: dict[str, Any] = {"version": __version__, "retries": retries, "dropped": dropped}
        after = replace(progress, dropped=progress.dropped + dropped)
        if self.is_due(after):
            fields[_NOTICE] = self._text(after)
        return fields

    def kept(self, cut: Cut) -> None:
        """Record that this cut, with its notice, has been stored."""
        if text := cut.client.get(_NOTICE):
            self._last, self._count = str(text), self._count + 1

    def _text(self, progress: Progress) -> str:
        parts = []
        if progress.rejected:
            why = f" ({progress.refusal[:200]})" if progress.refusal else ""
            parts.append(f"{progress.rejected} batches were refused{why}")
        if progress.dead:
            parts.append(f"{len(progress.dead)} batches could not be processed")
        if progress.dropped:
            parts.append(f"{progress.dropped} rows were dropped when they were logged")
        if progress.damaged_bytes:
            parts.append(f"{progress.damaged_bytes} bytes are damaged")
        if not parts:
            return ""
        return f"{'; '.join(parts)}; for details run penstock status on {self._host}"


def notice_records(cut: Cut) -> list[dict[str, Any]]:
    """The records for a cut's notice."""
    text = cut.client.get(_NOTICE)
    return [{"t": "run", _FIELD: text}] if text and cut.kind in ("rows", "mark") else []
