"""The embedded queue's append-only files: a single one, or several with Redis 7."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path

from penstock_server.queue_file.commands import sound_end
from penstock_server.queue_file.preamble import MAGIC, preamble_end

__all__ = ["FILE", "FOLDER", "AofFile", "aof_files_of", "mapped", "paths_of"]

FILE = "appendonly.aof"
FOLDER = "appendonlydir"

_MANIFEST = f"{FILE}.manifest"
_LISTED = re.compile(r"file (\S+) seq \d+ type ([bih])")
_NAMED = re.compile(re.escape(FILE) + r"\.(\d+)\.(base|incr)\.(?:aof|rdb)")


@dataclass(frozen=True, slots=True)
class AofFile:
    """A file of the queue and the offset up to which it is valid. A missing file has size -1."""

    path: Path
    size: int
    end: int

    @property
    def is_sound(self) -> bool:
        return self.end == self.size


def paths_of(folder: Path) -> tuple[list[Path], bool]:
    """The queue's files in load order, and whether that order is certain: the manifest may be damaged
    too."""
    if (folder / FILE).exists() or not (folder / FOLDER).is_dir():
        return [path for path in [folder / FILE] if path.exists()], True
    listed = _listed(folder / FOLDER / _MANIFEST)
    return (listed, True) if listed else (_named(folder / FOLDER), False)


def aof_files_of(paths: Collection[Path], refused: Collection[bytes]) -> list[AofFile]:
    """How far each of these files is valid."""
    return [_part(path, refused) for path in paths]


@contextmanager
def mapped(path: Path) -> Iterator[bytes | mmap]:
    """The file's content, read on demand."""
    if not path.exists() or not path.stat().st_size:
        yield b""
        return
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        yield data


def _part(path: Path, refused: Collection[bytes]) -> AofFile:
    if not path.exists():
        return AofFile(path, -1, 0)
    with mapped(path) as data:
        start: int | None = 0
        if data[: len(MAGIC)] == MAGIC:
            start = preamble_end(data)
        end = 0 if start is None else sound_end(data, start, refused)
        return AofFile(path, len(data), end)


def _listed(manifest: Path) -> list[Path]:
    """The files in the manifest; empty if it cannot be read."""
    try:
        lines = manifest.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    found = [_LISTED.match(line) for line in lines if not line.startswith("#")]
    if not all(found):
        return []
    return [manifest.parent / each[1] for each in found if each is not None and each[2] != "h"]


def _named(folder: Path) -> list[Path]:
    """The newest base and all increments, by their names."""
    found = sorted(
        (match[2], int(match[1]), path)
        for path in folder.iterdir()
        if (match := _NAMED.fullmatch(path.name)) is not None
    )
    bases = [path for kind, _, path in found if kind == "base"]
    return bases[-1:] + [path for kind, _, path in found if kind == "incr"]
