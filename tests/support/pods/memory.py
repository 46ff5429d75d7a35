"""A memory limit as a container has it: a control group, whose processes the kernel kills when they need more."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["MemoryGroup", "memory_group"]

_ROOT = Path("/sys/fs/cgroup")
_MIB = 2**20
_NO_LIMIT = {"memory.limit_in_bytes": "-1", "memory.max": "max"}
_GREEDY = """
import sys
open("/proc/self/oom_score_adj", "w").write("-999")
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
held = []
print("begun", flush=True)
while True:
    held.append(bytearray(1 << 20))
"""
"""Takes memory, and is the last of its group that the kernel kills for it."""


@dataclass(frozen=True)
class MemoryGroup:
    """A control group. `enter` is the command that starts another one in it."""

    folder: Path
    limit: str
    usage: str

    @property
    def enter(self) -> list[str]:
        return ["/bin/sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$@"', "sh"]

    @property
    def kills(self) -> int:
        """How many of its processes the kernel killed."""
        for name in ("memory.events", "memory.oom_control"):
            with suppress(FileNotFoundError):
                fields = dict(
                    line.split() for line in (self.folder / name).read_text().splitlines()
                )
                return int(fields["oom_kill"])
        return 0

    async def exhaust(self) -> None:
        """Let its processes need more memory than they may have, until the kernel has killed one; then they may
        have any amount again."""
        used = int((self.folder / self.usage).read_text())
        (self.folder / self.limit).write_text(str(used + 32 * _MIB))
        greedy = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _GREEDY, str(self.folder)
        )
        try:
            async with asyncio.timeout(60):
                while not self.kills:
                    await asyncio.sleep(0.005)
        finally:
            with suppress(ProcessLookupError):
                greedy.kill()
            await greedy.wait()
            (self.folder / self.limit).write_text(_NO_LIMIT[self.limit])


@contextmanager
def memory_group(name: str) -> Iterator[MemoryGroup]:
    """A group without processes, below our own; skips the test where there can be none."""
    folder, limit, usage = _place(name)
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"control groups cannot be made here: {error}")
    try:
        if not (folder / limit).exists():
            pytest.skip("control groups do not limit memory here")
        yield MemoryGroup(folder, limit, usage)
    finally:
        with suppress(OSError):
            folder.rmdir()


def _place(name: str) -> tuple[Path, str, str]:
    """Where a new group goes, and what its files are called in this version of control groups."""
    own: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(","), path)
    unique = f"{name}-{os.getpid()}"
    if "memory" in own:
        folder = _ROOT / "memory" / own["memory"].lstrip("/") / unique
        return folder, "memory.limit_in_bytes", "memory.usage_in_bytes"
    return _ROOT / own.get("", "/").lstrip("/") / unique, "memory.max", "memory.current"
