"""Facts about a run are gathered by a short-lived process of the lowest priority, which the reader forks.

It sends what it finds as soon as it has it, as msgpack maps: the number of a resumed run's next line (`offset`),
entries of the run's info (`facts`), files by name (`files`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgpack

from penstock.spool.meta import load_meta

__all__ = ["Gathering", "start_gathering"]

_NUMBER_S, _MOST_S = 6.0, 60.0
"""How long the number of a line is waited for, and how long everything may take."""
_LINK_S = 4.0
_MOST_BYTES = 64 << 20
_MOST_FDS = 4_096


@dataclass
class Gathering:
    """One such process: what it says comes from `fd` and is about the run of the spool `folder`."""

    fd: int
    folder: str
    number_until: float
    until: float
    """When it is given up (monotonic clock)."""
    _unpacker: Any = field(default_factory=lambda: msgpack.Unpacker(max_buffer_size=_MOST_BYTES))

    def due(self, is_held_back: bool) -> float:
        """When to look at it again. `is_held_back`: lines wait for a number."""
        return self.number_until if is_held_back else self.until

    def take(self, data: bytes) -> Iterator[dict[str, Any]]:
        """What these bytes complete."""
        self._unpacker.feed(data)
        yield from self._unpacker


def start_gathering(message: Mapping[str, Any], now: float) -> Gathering | None:
    """Fork the process for a run that is opened; None if there is nothing to find out. The caller must have
    one thread only."""
    if not (message["wants"] or message["resumed"]):
        return None
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        try:
            os.dup2(write_end, 0)  # everything else belongs to the reader, whose end others notice
            os.closerange(3, _MOST_FDS)
            os.nice(19)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            for said in _found(message):
                _send(said)
        finally:
            os._exit(0)
    os.close(write_end)
    return Gathering(read_end, message["open"], now + _NUMBER_S, now + _MOST_S)


def _found(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    folder = Path(message["open"])
    if message["resumed"]:
        yield {"offset": _next_line(folder)}
    if message["wants"]:
        from penstock.capture.facts import gather  # noqa: PLC0415  (only in this process)

        yield from gather(message, load_meta(folder).api_key)


def _next_line(folder: Path) -> int | None:
    """The number after the last line that the server has of this run; None if it does not say."""
    from penstock.errors import Rejected, Transient  # noqa: PLC0415  (as above)
    from penstock.link import Link  # noqa: PLC0415

    meta = load_meta(folder)
    link = Link(meta.base_url, meta.ca_file, meta.proxies, timeout_s=_LINK_S)
    try:
        entity = meta.entity or str(link.call("GET", "/v1/viewer", meta.api_key)["entity"])
        names = (entity, meta.project, meta.run)
        path = "/v1/runs/" + "/".join(quote(name, safe="") for name in names)
        found = link.call("GET", f"{path}/console?end=last&limit=1", meta.api_key)
        return max((int(line["line"]) + 1 for line in found["lines"]), default=0)
    except (Rejected, Transient, KeyError, TypeError, ValueError):
        return None


def _send(said: dict[str, Any]) -> None:
    left = memoryview(msgpack.packb(said, unicode_errors="replace"))
    while left:
        left = left[os.write(0, left) :]
