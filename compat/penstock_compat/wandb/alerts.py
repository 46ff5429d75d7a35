"""Alerts raised by a script: stored with its run, like those of Penstock's own client."""

from __future__ import annotations

import hashlib
import time
from typing import Any

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock.wire import RECORD_ROOM, Batch, Room, check_name, decode_batch, encode_batch, fit_all
from penstock.wire.records import AlertRecord
from penstock_compat.wandb.graphql.nodes import Node, field
from penstock_compat.wandb.request_context import RequestContext
from penstock_ingest.creations import ensure_run
from penstock_storage.contracts.interface import RunRef

__all__ = ["AlertMutations"]

_LEVELS = frozenset({"INFO", "WARN", "ERROR"})
_TITLE_CHARS, _TEXT_CHARS = 1_000, 20_000
_MAX_WAIT_MS = 7 * 24 * 3600 * 1000


class AlertMutations(Node):
    """The root field for raising alerts."""

    context: RequestContext

    @field
    async def notify_scriptable_run_alert(self, input: dict[str, Any]) -> dict[str, Any]:
        """Store an alert. Another with the same title is dropped within `waitDuration` (ms)."""
        context = self.context
        ref = RunRef(
            context.entity(input.get("entityName")),
            check_name("project", input.get("projectName")),
            check_name("run", input.get("runName")),
        )
        title, level = str(input.get("title") or ""), input.get("severity") or "INFO"
        if level not in _LEVELS:
            raise Rejected(f"{level!r} is not an alert severity", code=ErrorCode.BAD_ALERT)
        if await self._is_due(ref, title, input.get("waitDuration")):
            await self._keep(ref, title[:_TITLE_CHARS], str(input.get("text") or ""), level)
        return {"__typename": "NotifyScriptableRunAlertPayload", "success": True}

    async def _is_due(self, ref: RunRef, title: str, wait_ms: object) -> bool:
        if isinstance(wait_ms, bool) or not isinstance(wait_ms, int | float) or not wait_ms >= 1:
            return True
        key = self.context.deps.keys.alert_pause("/".join(ref), title)
        for_ms = int(min(wait_ms, _MAX_WAIT_MS))
        return bool(await self.context.deps.redis.set(key, "1", nx=True, px=for_ms))

    async def _keep(self, ref: RunRef, title: str, text: str, level: str) -> None:
        deps = self.context.deps
        deps.status.check()
        await ensure_run(deps.catalog, ref)
        await deps.room.check(ref)
        now = time.time_ns() // 1000
        record: AlertRecord = {
            "t": "alert", "title": title, "text": text[:_TEXT_CHARS], "level": level, "time": now,
        }  # fmt: skip
        batch = Batch(
            project=ref.project,
            run=ref.run,
            writer="http",  # the queue assigns the writer's name and batch numbers
            writer_started=now,
            seq=1,
            entity=ref.entity,
            sent_at=now,
        )
        _, batch.records = fit_all([], [record], Room(*RECORD_ROOM), deps.limits)
        raw = encode_batch(batch)
        decoded = decode_batch(raw, deps.limits).decoded
        digest = hashlib.sha256(raw).hexdigest()
        await deps.appender.append_rows(*ref, raw, decoded, key="", digest=digest)
