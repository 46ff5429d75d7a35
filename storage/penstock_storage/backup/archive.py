"""The folder of a backup: compressed files, and a manifest of their contents.

The manifest is written last, and the folder gets its name only then: a folder with both is complete.
Nothing is trusted on restore: `open_archive` reads every file and compares its checksum. Files are 0600
and folders 0700, because a backup contains the installation's secrets.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import zstandard

from penstock.command_codes import CommandCode
from penstock.errors import Rejected

__all__ = ["FORMAT", "Archive", "ArchiveWriter", "FileWriter", "generations", "open_archive"]

FORMAT = 1
_MANIFEST = "manifest.json"
_PARTIAL = ".partial"
_CHUNK_BYTES = 2**20
_LEVEL = 3


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file in the manifest. `rows`: as counted by its writer."""

    size_bytes: int
    sha256: str
    rows: int


class FileWriter:
    """A file being written to an archive. The caller counts the `rows`."""

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
        self._digest = hashlib.sha256()
        self._size_bytes = 0

    def write(self, content: bytes) -> None:
        """Add bytes, compressed."""
        self._put(self._compressor.compress(content))

    def finish(self) -> FileEntry:
        """Finish the file and sync it to disk."""
        self._put(self._compressor.flush())
        self._file.flush()
        os.fsync(self._file.fileno())
        return FileEntry(self._size_bytes, self._digest.hexdigest(), self.rows)

    def close(self) -> None:
        self._file.close()

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._size_bytes += len(data)


class ArchiveWriter:
    """A new archive. It exists only once `finish` has returned."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = path.with_name(path.name + _PARTIAL)
        self._files: dict[str, FileEntry] = {}
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(mode=0o700)

    @contextmanager
    def file(self, name: str) -> Iterator[FileWriter]:
        """A new file of the archive, included if the block ends without an error."""
        writer = FileWriter(self._partial / f"{name}.zst")
        try:
            yield writer
            self._files[name] = writer.finish()
        finally:
            writer.close()

    def finish(self, about: dict[str, Any]) -> None:
        """Write the manifest, with `about` in it, and give the archive its name."""
        files = {name: asdict(entry) for name, entry in self._files.items()}
        manifest = {"format": FORMAT, **about, "files": files}
        path = self._partial / _MANIFEST
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(manifest, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        _flush_folder(self._partial)
        self._partial.rename(self.path)
        _flush_folder(self.path.parent)


@dataclass(frozen=True)
class Archive:
    """A complete archive. `about` is what `finish` was given; `rows` is the number of rows by file."""

    path: Path
    about: dict[str, Any]
    rows: dict[str, int]

    def read(self, name: str) -> Iterator[bytes]:
        """The content of a file, in chunks."""
        with (self.path / f"{name}.zst").open("rb") as file:
            yield from zstandard.ZstdDecompressor().read_to_iter(
                file, read_size=_CHUNK_BYTES, write_size=_CHUNK_BYTES
            )


def open_archive(path: Path) -> Archive:
    """The archive in a folder, every byte of it checked. Raises `Rejected` if it is not an archive,
    incomplete, damaged, or of a newer Penstock."""
    manifest = _read_manifest(path)
    entries = {name: FileEntry(**entry) for name, entry in manifest.pop("files").items()}
    for name, entry in entries.items():
        file = path / f"{name}.zst"
        try:
            size_bytes, digest = _measure(file)
        except OSError as error:
            raise _broken(path, f"{file.name} cannot be read: {error.strerror}") from None
        if (size_bytes, digest) != (entry.size_bytes, entry.sha256):
            raise _broken(path, f"{file.name} is not what was written")
    return Archive(path, manifest, {name: entry.rows for name, entry in entries.items()})


def generations(folder: Path) -> list[Path]:
    """The complete archives in a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.endswith(_PARTIAL) and (path / _MANIFEST).is_file()
    )


def _read_manifest(path: Path) -> dict[str, Any]:
    if path.name.endswith(_PARTIAL):
        raise _broken(path, "it was never finished")
    try:
        manifest = json.loads((path / _MANIFEST).read_text())
        found = manifest.pop("format")
    except OSError:
        raise _broken(path, f"it has no {_MANIFEST}") from None
    except (ValueError, KeyError, AttributeError):
        raise _broken(path, f"its {_MANIFEST} is damaged") from None
    if not isinstance(found, int) or found > FORMAT:
        raise Rejected(
            f"{path} has backup format {found}, this Penstock knows up to {FORMAT}",
            code=CommandCode.NEWER_BACKUP,
        )
    return dict(manifest)


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()


def _broken(path: Path, reason: str) -> Rejected:
    return Rejected(f"{path} is no whole backup: {reason}", code=CommandCode.BROKEN_BACKUP)


def _flush_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
