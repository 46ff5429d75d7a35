"""Uploads a run's spooled files, one at a time and after its rows: they are small, and only known runs have files.

A file stays in the spool until the server has it. One that the server refuses for good is set aside, and logged.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from urllib.parse import urlsplit

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock.link import Link
from penstock.spool.files import SpooledFile, files_in, read_file
from penstock.spool.meta import Meta

__all__ = ["Uploads", "put_file"]

log = logging.getLogger(__name__)

_MUTATION = """
mutation CreateRunFiles($entity: String, $project: String!, $run: String!, $names: [String!]!) {
  createRunFiles(
    input: {entityName: $entity, projectName: $project, runName: $run, files: $names}
  ) { files { uploadUrl } }
}
"""
_KEY_REFUSED = frozenset({401, 403})
_RETRY_S, _MOST_TRIES = 60.0, 10
"""For a refusal that is not Penstock's own, such as a proxy's."""


class Uploads:
    """Those of one spool."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen_at = 0
        self._left: list[Path] = []
        self._tries = 0
        self._not_before = 0.0

    @property
    def are_left(self) -> bool:
        """Whether there are files to upload, now or later."""
        self._look()
        return bool(self._left)

    def next(self) -> Path | None:
        """A file to upload now; None if there is none."""
        if time.monotonic() < self._not_before:
            return None
        self._look()
        return self._left[0] if self._left else None

    def read(self, path: Path) -> SpooledFile | None:
        """Its name and content; None if it is damaged, and set aside. Raises OSError."""
        try:
            return read_file(path)
        except ValueError as error:
            self.refused(path, error)
            return None

    def uploaded(self, path: Path) -> None:
        """The server has it."""
        path.unlink(missing_ok=True)
        self._left.remove(path)

    def refused(self, path: Path, error: Exception) -> None:
        """Set it aside, or try it later; raises again what another key may change."""
        if isinstance(error, Rejected):
            is_foreign = error.code.startswith("http_")
            if error.status in _KEY_REFUSED and not is_foreign:
                raise error
            self._tries += 1
            if is_foreign and self._tries < _MOST_TRIES:
                self._not_before = time.monotonic() + _RETRY_S
                return
        log.error("%s: a file was refused: %s", self._folder.name, error)
        path.rename(path.with_suffix(".refused"))
        self._left.remove(path)

    def _look(self) -> None:
        """Only if the folder has changed."""
        try:
            changed_at = self._folder.stat().st_mtime_ns
        except OSError:
            self._left = []
            return
        if changed_at != self._seen_at:
            self._seen_at = changed_at
            self._left = sorted(files_in(self._folder))


def put_file(link: Link, meta: Meta, key: str, file: SpooledFile) -> None:
    """Upload a file by the door that the official client uses. Raises Transient or Rejected."""
    variables = {
        "entity": meta.entity, "project": meta.project, "run": meta.run, "names": [file.name],
    }  # fmt: skip
    body = json.dumps({"query": _MUTATION, "variables": variables}).encode()
    answer = link.call("POST", "/graphql", key, body, "application/json")
    try:
        address = urlsplit(answer["data"]["createRunFiles"]["files"][0]["uploadUrl"])
    except (KeyError, IndexError, TypeError):
        raise Rejected(
            f"{file.name} cannot be uploaded: {str(answer)[:300]}", code=ErrorCode.BAD_FILE_NAME
        ) from None
    # Through the address that works from here, whatever the server takes for its own.
    path = address.path.removeprefix(link.base.path) if link.base.path else address.path
    link.call("PUT", f"{path}?{address.query}", key, file.content, "application/octet-stream")
