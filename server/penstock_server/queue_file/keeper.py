"""Repairs the embedded Redis' file: determines why Redis did not load it, and starts the repair."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from penstock_common.queue.redis_keys import RedisKeys
from penstock_server.queue_file.aof_files import paths_of
from penstock_server.queue_file.repair import Repair, finish_repair, recent_repairs, repair
from penstock_server.queue_file.rows import fresh_numbers

__all__ = ["QueueKeeper"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MAX_LOG_BYTES = 2**16
_MAX_WARNINGS = 3
_DAMAGED = re.compile(
    r"(Bad file format|Unexpected end of file) reading the append only file"
    r"|Unknown command '(?P<unknown>[^']*)' reading the append only file"
    r"|Error reading the RDB preamble|Internal error in RDB|Wrong RDB checksum"
    r"|Unexpected EOF reading RDB|Wrong signature trying to load|RDB base file of AOF"
    r"|AOF manifest file|[Tt]he AOF file .* doesn't exist"
)
_NEWER = "Can't handle RDB format version"
"""A newer Redis' file is valid although this version cannot read it."""


class QueueKeeper:
    """`log` is Redis' log file. `tell` receives descriptions of repairs and possible losses."""

    def __init__(
        self, folder: Path, log: Path, keys: RedisKeys, tell: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._log = log
        self._keys = keys
        self._tell = tell
        self._boot = folder / "boot"
        self._log_from = 0
        self.repairs = 0
        self.trouble = ""
        """Why Redis does not start, if this cannot be fixed here."""

    def starting(self) -> None:
        """Call before Redis is first started."""
        finish_repair(self._folder)
        boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
        if self._boot.exists() and self._boot.read_text() != boot:
            self._host_went_down()
        self._boot.write_text(boot)
        self._mark_log()

    def ended(self, code: int) -> None:
        """Call when Redis has exited. If it could not load its file, repair that before the next start."""
        if code == 0:
            self._boot.unlink(missing_ok=True)
            return
        log = self._read_log()
        self._mark_log()
        if code < 0:  # killed: its file is unchanged
            return
        damage = _DAMAGED.search(log)
        if damage is None or _NEWER in log:
            self.trouble = _last_warnings(log)
            return
        unknown = damage["unknown"]
        refused = [unknown.encode("utf-8", "surrogateescape").upper()] if unknown else []
        done = repair(self._folder, self._keys, refused=refused)
        if done is None:
            done = repair(self._folder, self._keys, whole=True)
        self._told(done, log)

    def damages(self) -> list[str]:
        """Descriptions of the last days' repairs whose damaged files still exist."""
        return [str(each) for each in recent_repairs(self._folder)]

    def _told(self, done: Repair | None, log: str) -> None:
        if done is None:
            self.trouble = _last_warnings(log)
        else:
            self.repairs += 1
            self._tell(str(done))

    def _host_went_down(self) -> None:
        """Report that data not yet on disk is lost, without a trace in the file."""
        paths, _ = paths_of(self._folder)
        if paths and paths[-1].exists():
            with paths[-1].open("ab") as file:
                file.write(fresh_numbers(self._keys))
        self._tell(
            "This machine went down while Penstock was running: the last second of queued data may be"
            " lost. Clients send again what they still have; JSON rows accepted in that second"
            " exist nowhere else"
        )

    def _mark_log(self) -> None:
        self._log_from = self._log.stat().st_size if self._log.exists() else 0

    def _read_log(self) -> str:
        """Redis' log since it was started."""
        if not self._log.exists():
            return ""
        with self._log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(self._log_from, size - _MAX_LOG_BYTES))
            return file.read().decode("utf-8", "surrogateescape")


def _last_warnings(log: str) -> str:
    """Redis' last log line, without process id and time."""
    warnings = [line.partition(" # ")[2].strip() for line in log.splitlines() if " # " in line]
    return "; ".join(warnings[-_MAX_WARNINGS:]) or log.strip()[-500:]
