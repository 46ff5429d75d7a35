"""A spool's `meta.json`: its run and its server; written once, readable by its owner only."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

__all__ = [
    "META_FILE",
    "Meta",
    "boot_id",
    "boot_us",
    "load_meta",
    "pid_namespace",
    "replace_json",
    "store_meta",
]

META_FILE = "meta.json"


@dataclass(frozen=True)
class Meta:
    """What the shipper must know about a writer.

    `primary` is true for the writer that determines the run's state: if another one crashes, the run
    has not crashed. An empty `api_key` is looked up in the login file. `parent` is the writer of the
    process that this one was forked from: its other children may continue this spool.
    """

    base_url: str
    api_key: str
    entity: str | None
    project: str
    run: str
    writer: str
    writer_started: int
    rank: int = 0
    primary: bool = True
    offline: bool = False
    ca_file: str | None = None
    proxies: dict[str, str] = field(default_factory=dict)
    host: str = ""
    boot_id: str = ""
    pid: int = 0
    version: str = ""
    parent: str = ""
    started_boot_us: int = 0
    """When it started, in µs since the host booted: no setting of the clock moves it."""
    start: str = ""
    """How it took up the run: `resume`, `beside`, or '' for neither."""
    start_step: int = 0
    pid_namespace: str = ""
    """In which `pid` is a process id: containers of one machine have their own."""
    system: dict[str, Any] = field(default_factory=dict)
    """What it wants of system metrics (`penstock.system.wish`); empty: nothing."""

    @property
    def age_us(self) -> int:
        """For how long this writer has run, as far as this machine can tell."""
        if self.started_boot_us and self.boot_id == boot_id():
            return max(0, boot_us() - self.started_boot_us)
        return max(0, time.time_ns() // 1_000 - self.writer_started)


_FIELDS = frozenset(item.name for item in fields(Meta))


def store_meta(folder: Path, meta: Meta) -> None:
    replace_json(folder / META_FILE, asdict(meta))


def load_meta(folder: Path) -> Meta:
    """Raises OSError or ValueError if there is no readable one. Ignores fields of newer versions."""
    stored = json.loads((folder / META_FILE).read_text())
    try:
        return Meta(**{name: value for name, value in stored.items() if name in _FIELDS})
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{folder / 'meta.json'}: {error}") from None


def replace_json(path: Path, content: dict[str, Any]) -> None:
    """Write a small private file atomically: readers see the old content or the new.

    Raises OSError; the old content then remains.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w") as file:
            json.dump(content, file, separators=(",", ":"))
        temporary.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def boot_us() -> int:
    """The time since the host booted, in µs; 0 if the system does not say."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return 0 if clock is None else time.clock_gettime_ns(clock) // 1_000


def boot_id() -> str:
    """Changes when the host boots, so that process ids from an earlier boot are not trusted."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def pid_namespace() -> str:
    """Where this process's id is valid, as Linux names it; '' if the system does not say."""
    with contextlib.suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""
