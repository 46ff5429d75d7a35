"""Runs translations: small bodies in place, large ones in separate processes.

A body of 10 MiB takes 0.2 s of Python. In a thread that would block everything else in this process
whenever the interpreter does not switch.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from penstock.error_codes import ErrorCode
from penstock.errors import Transient
from penstock.wire import Limits
from penstock_common.process.lifecycle import die_with_parent
from penstock_compat.wandb.stream.translation import Request, Translated, translate

__all__ = ["Translator"]

_INLINE_BYTES = 64 * 1024


class Translator:
    """Starts the processes with the first large body."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pool: ProcessPoolExecutor | None = None

    async def translate(self, body: bytes, request: Request) -> Translated:
        """Run `translation.translate`, and raise what that does; `Transient` if the process died."""
        if len(body) <= _INLINE_BYTES:
            return translate(body, request, self._limits)
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                max(1, min(4, (os.cpu_count() or 1) // 2)),
                mp_context=multiprocessing.get_context("spawn"),
                initializer=die_with_parent,
            )
        pool = self._pool
        try:
            return await asyncio.get_running_loop().run_in_executor(
                pool, translate, body, request, self._limits
            )
        except BrokenProcessPool:
            if self._pool is pool:
                self._pool = None
            raise Transient(
                "the lines could not be read at the moment", code=ErrorCode.OVERLOADED
            ) from None

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
