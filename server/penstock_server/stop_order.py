"""The order in which `penstock up` stops its children: what takes requests first, then each part that the
others need, once these have ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from penstock_common.process.settings import GatewaySettings, WorkerSettings, load
from penstock_server.child import Child

__all__ = ["longest_stop_s", "stop_in_order"]

_LOG = logging.getLogger(__name__)
_MORE_S = 3.0
"""What a part may take beyond the time that its settings give to what is in hand."""
_LAST_S = 6.0
"""The store finishes statements for five seconds."""
_KILLED_S = 1.0


async def stop_in_order(
    running: Mapping[Child, asyncio.Task[None]], environ: Mapping[str, str]
) -> None:
    """Stop all children; kill those that take longer than the settings in `environ` allow them."""
    for names, patience_s in _stages(environ):
        stage = {child: task for child, task in running.items() if child.name in names}
        for child in stage:
            child.stop()
        if stage:
            await asyncio.wait(stage.values(), timeout=patience_s)
        late = {child: task for child, task in stage.items() if not task.done()}
        for child in late:
            _LOG.warning("child_killed name=%s", child.part)
            child.kill()
        if late:
            await asyncio.wait(late.values(), timeout=_KILLED_S)


def longest_stop_s(environ: Mapping[str, str]) -> float:
    """How long `stop_in_order` takes at most."""
    return sum(patience_s + _KILLED_S for _, patience_s in _stages(environ))


def _stages(environ: Mapping[str, str]) -> list[tuple[set[str], float]]:
    """Kinds of children, and how long they may take."""
    gateway, worker = load(GatewaySettings, environ=environ), load(WorkerSettings, environ=environ)
    return [
        ({"gateway"}, gateway.pre_stop_s + gateway.drain_s + _MORE_S),
        ({"worker"}, worker.drain_s + _MORE_S),
        ({"redis", "store"}, _LAST_S),
    ]
